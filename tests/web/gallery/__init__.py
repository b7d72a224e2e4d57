"""A page that shows every part of the kit, and the server it stands on. Only tests and designers see it."""

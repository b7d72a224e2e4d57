"""A page that shows every part of the kit with real-looking data, and the server it stands on. Only tests and designers see it."""

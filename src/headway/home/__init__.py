"""Where people begin: what needs them, what runs now, where they left off; a project at first sight; Cmd-K; settings.

Home looks over all the other pillars and owns nothing: it reads what they offer and links to their pages.
"""

"""The Sessions pages: rendered on the server, read by people. `install` puts them into the API's application.

``queries`` say what a page reads, ``views`` turn rows into what a template shows (pure), ``routes`` bring both
together.
"""

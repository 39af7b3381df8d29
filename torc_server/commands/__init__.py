"""The commands of `torc-server`: each is a module with its name, whose `command` is imported when it is called.

Shared by them: options.py (the settings as options), database.py (reach, check and migrate the database), messages.py
(what people read). startup.py is what `run` does: listen, open the database, start gunicorn.
"""

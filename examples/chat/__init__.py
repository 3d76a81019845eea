"""The audited application in small: login, chat, live updates, an assistant.

``resprout run examples.chat:app`` runs it until Ctrl-C; see `examples.chat.settings` for its environment.
"""

import os

from examples.chat.settings import Settings
from examples.chat.tree import build

app = build(Settings.from_environment(os.environ))

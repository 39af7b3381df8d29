"""What administrators of the server get."""

from torc_server.schemas import fields
from torc_server.schemas.common import Answer


class ReloadAuthResponse(Answer):
    """The password file was read."""

    message = fields.String("What was done.", example="Auth credentials reloaded successfully", required=True)
    user_count = fields.Integer("How many users the file has.", example=12, required=True)

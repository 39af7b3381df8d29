"""What kind of server this is, and whether it answers."""

from torc_server.schemas import fields
from torc_server.schemas.common import Answer


class PingResponse(Answer):
    """The server answers."""

    status = fields.String("Always ok.", example="ok", required=True)


class VersionResponse(Answer):
    """The versions of the server and of this interface."""

    version = fields.String("Version of the server.", example="0.1.0", required=True)
    api_version = fields.String(
        "Version of this interface, major.minor.patch; another major version is incompatible. Clients of torc 0.22.2 "
        "to 0.28 are told 0.12.0.",
        example="0.23.0",
        required=True,
    )
    git_hash = fields.String(
        "The commit that the server was made from; absent where that is not known or access control is enforced.",
        example="1a2b3c4",
        allow_none=True,
    )

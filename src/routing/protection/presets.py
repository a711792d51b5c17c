"""Presets: lists of paths that many rules need, by name and version: `@aws-sensitive/1`.

A version never changes; what is learned later makes another one.
"""

from collections.abc import Mapping

from msgspec import Struct

from routing.protection.paths import FieldPath, read_path


class Preset(Struct, frozen=True):
    """A list of paths.

    Attributes:
        name: As rules name it, without the at sign: `aws-sensitive/1`.
        about: What it holds, and what it does not.
        paths: As written.
    """

    name: str
    about: str
    paths: tuple[str, ...]

    @property
    def read(self) -> tuple[FieldPath, ...]:
        """The paths, read."""
        return tuple(read_path(path) for path in self.paths)


_ALL = (
    Preset(
        "aws-sensitive/1",
        "Who the customer is and what they entered: what DeleteContactData redacts "
        "(https://docs.aws.amazon.com/connect/latest/APIReference/API_DeleteContactData.html), and attributes, references and tags; not user-defined segment attributes, which version 2 has",
        (
            "CustomerEndpoint",
            "TransferredToEndpoint",
            "SystemEndpoint",
            "AdditionalEmailRecipients",
            'SegmentAttributes."connect:EmailSubject"',
            "CustomerId",
            "VoiceIdResult",
            "Attributes",
            "ContactDetails",
            "References",
            "Tags",
        ),
    ),
    Preset(
        "aws-sensitive/2",
        "Who the customer is and what they entered: what DeleteContactData redacts "
        "(https://docs.aws.amazon.com/connect/latest/APIReference/API_DeleteContactData.html), and all that your flows may write, user-defined segment attributes among it",
        (
            "CustomerEndpoint",
            "TransferredToEndpoint",
            "SystemEndpoint",
            "AdditionalEmailRecipients",
            "SegmentAttributes",
            "CustomerId",
            "VoiceIdResult",
            "Attributes",
            "ContactDetails",
            "References",
            "Tags",
        ),
    ),
    Preset(
        "agent-identity/1",
        "Who the agent is, in contact records and agent events",
        (
            "Agent.ARN",
            "Agent.Username",
            "Agent.HierarchyGroups",
            "Agent.DeviceInfo",
            "AgentARN",
            "CurrentAgentSnapshot.Configuration.FirstName",
            "CurrentAgentSnapshot.Configuration.LastName",
            "CurrentAgentSnapshot.Configuration.Username",
            "CurrentAgentSnapshot.Configuration.AgentHierarchyGroups",
            "PreviousAgentSnapshot.Configuration.FirstName",
            "PreviousAgentSnapshot.Configuration.LastName",
            "PreviousAgentSnapshot.Configuration.Username",
            "PreviousAgentSnapshot.Configuration.AgentHierarchyGroups",
        ),
    ),
    Preset(
        "locations/1",
        "Where recordings, transcripts and evaluations stand",
        (
            "Recording.Location",
            "Recordings.*.Location",
            "ContactEvaluations.*.ExportLocation",
            "References.*.Value",
        ),
    ),
)

PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _ALL}

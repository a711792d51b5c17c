"""The fields that Amazon Connect is known to send, so that a path with a slip of the pen is noticed.

They come from the pages on the contact record, the agent event stream and the segment stream, and from samples;
Connect adds new ones without notice, so an unknown path is a warning and no error.

Source: https://docs.aws.amazon.com/connect/latest/adminguide/ctr-data-model.html
Source: https://docs.aws.amazon.com/connect/latest/adminguide/agent-event-stream-model.html
Source: https://docs.aws.amazon.com/connect/latest/adminguide/contact-lens-real-time-contact-segment-schema.html
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from routing.model import Kind
from routing.protection.paths import ANY, DEEP, FieldPath, read_path, show_path
from routing.protection.presets import PRESETS
from routing.table.routes import Route

_SNAPSHOT = """
    AgentCrossRegionRoutingConfiguration AgentCrossRegionRoutingConfiguration.ConfiguredRegions
    AgentCrossRegionRoutingConfiguration.ConfiguredRegions.* AgentCrossRegionRoutingConfiguration.CurrentRegion
    AgentStatus AgentStatus.ARN AgentStatus.Name AgentStatus.StartTimestamp AgentStatus.Type Configuration
    Configuration.AgentHierarchyGroups Configuration.AgentHierarchyGroups.*.ARN
    Configuration.AgentHierarchyGroups.*.Name Configuration.AgentHierarchyGroups.Level1
    Configuration.AgentHierarchyGroups.Level2 Configuration.AgentHierarchyGroups.Level3
    Configuration.AgentHierarchyGroups.Level4 Configuration.AgentHierarchyGroups.Level5 Configuration.FirstName
    Configuration.LastName Configuration.Proficiencies Configuration.Proficiencies.*
    Configuration.Proficiencies.*.Name Configuration.Proficiencies.*.ProficiencyLevel
    Configuration.Proficiencies.*.Value Configuration.RoutingProfile Configuration.RoutingProfile.ARN
    Configuration.RoutingProfile.Concurrency Configuration.RoutingProfile.Concurrency.*
    Configuration.RoutingProfile.Concurrency.*.AvailableSlots Configuration.RoutingProfile.Concurrency.*.Channel
    Configuration.RoutingProfile.Concurrency.*.MaximumSlots Configuration.RoutingProfile.DefaultOutboundQueue
    Configuration.RoutingProfile.DefaultOutboundQueue.ARN Configuration.RoutingProfile.DefaultOutboundQueue.Channels
    Configuration.RoutingProfile.DefaultOutboundQueue.Channels.*
    Configuration.RoutingProfile.DefaultOutboundQueue.Name Configuration.RoutingProfile.InboundQueues
    Configuration.RoutingProfile.InboundQueues.* Configuration.RoutingProfile.InboundQueues.*.ARN
    Configuration.RoutingProfile.InboundQueues.*.Channels Configuration.RoutingProfile.InboundQueues.*.Channels.*
    Configuration.RoutingProfile.InboundQueues.*.Name Configuration.RoutingProfile.Name Configuration.Username
    Contacts Contacts.* Contacts.*.Channel Contacts.*.ConnectedToAgentTimestamp Contacts.*.ContactId
    Contacts.*.GlobalResiliencyMetadata Contacts.*.GlobalResiliencyMetadata.ActiveRegion
    Contacts.*.GlobalResiliencyMetadata.OriginRegion Contacts.*.InitialContactId Contacts.*.InitiationMethod
    Contacts.*.Queue Contacts.*.Queue.ARN Contacts.*.Queue.Name Contacts.*.QueueTimestamp Contacts.*.State
    Contacts.*.StateStartTimestamp NextAgentStatus NextAgentStatus.ARN NextAgentStatus.EnqueuedTimestamp
    NextAgentStatus.Name
"""

_KNOWN = {
    Kind.CONTACT_RECORD: """
    AWSAccountId AWSContactTraceRecordFormatVersion AdditionalEmailRecipients Agent Agent.ARN
    Agent.AcceptedByAgentTimestamp Agent.AfterContactWorkDuration Agent.AfterContactWorkEndTimestamp
    Agent.AfterContactWorkStartTimestamp Agent.AgentInitiatedHoldDuration Agent.AgentInteractionDuration
    Agent.AgentPauseDuration Agent.Capabilities Agent.Capabilities.** Agent.ConnectedToAgentTimestamp
    Agent.CustomerHoldDuration Agent.DeviceInfo Agent.DeviceInfo.OperatingSystem Agent.DeviceInfo.PlatformName
    Agent.DeviceInfo.PlatformVersion Agent.HierarchyGroups Agent.HierarchyGroups.*.ARN
    Agent.HierarchyGroups.*.GroupName Agent.HierarchyGroups.Level1 Agent.HierarchyGroups.Level2
    Agent.HierarchyGroups.Level3 Agent.HierarchyGroups.Level4 Agent.HierarchyGroups.Level5 Agent.LongestHoldDuration
    Agent.NumberOfHolds Agent.PreviewEndTimestamp Agent.RoutingProfile Agent.RoutingProfile.ARN
    Agent.RoutingProfile.Name Agent.StateTransitions Agent.StateTransitions.* Agent.StateTransitions.*.state
    Agent.StateTransitions.*.stateEndTimestamp Agent.StateTransitions.*.stateStartTimestamp Agent.Username
    AgentConnectionAttempts AnsweringMachineDetectionStatus Attributes Attributes.** Campaign Campaign.CampaignId
    Channel ChatMetrics ChatMetrics.AgentMetrics ChatMetrics.AgentMetrics.ConversationAbandon
    ChatMetrics.AgentMetrics.LastMessageTimestamp ChatMetrics.AgentMetrics.MaxResponseTimeInMillis
    ChatMetrics.AgentMetrics.MessageLengthInChars ChatMetrics.AgentMetrics.MessagesSent
    ChatMetrics.AgentMetrics.NumResponses ChatMetrics.AgentMetrics.ParticipantId
    ChatMetrics.AgentMetrics.ParticipantType ChatMetrics.AgentMetrics.TotalResponseTimeInMillis
    ChatMetrics.ContactMetrics ChatMetrics.ContactMetrics.AgentFirstResponseTimeInMillis
    ChatMetrics.ContactMetrics.AgentFirstResponseTimestamp ChatMetrics.ContactMetrics.ConversationCloseTimeInMillis
    ChatMetrics.ContactMetrics.ConversationTurnCount ChatMetrics.ContactMetrics.MultiParty
    ChatMetrics.ContactMetrics.TotalBotMessageLengthInChars ChatMetrics.ContactMetrics.TotalBotMessages
    ChatMetrics.ContactMetrics.TotalMessages ChatMetrics.CustomerMetrics
    ChatMetrics.CustomerMetrics.ConversationAbandon ChatMetrics.CustomerMetrics.LastMessageTimestamp
    ChatMetrics.CustomerMetrics.MaxResponseTimeInMillis ChatMetrics.CustomerMetrics.MessageLengthInChars
    ChatMetrics.CustomerMetrics.MessagesSent ChatMetrics.CustomerMetrics.NumResponses
    ChatMetrics.CustomerMetrics.ParticipantId ChatMetrics.CustomerMetrics.ParticipantType
    ChatMetrics.CustomerMetrics.TotalResponseTimeInMillis ConnectedToSystemTimestamp ContactAssociationId
    ContactDetails ContactDetails.** ContactEvaluations ContactEvaluations.* ContactEvaluations.*.DeleteTimestamp
    ContactEvaluations.*.EndTimestamp ContactEvaluations.*.EvaluationArn ContactEvaluations.*.ExportLocation
    ContactEvaluations.*.FormId ContactEvaluations.*.StartTimestamp ContactEvaluations.*.Status ContactId
    ContactLens ContactLens.ConversationalAnalytics ContactLens.ConversationalAnalytics.Configuration
    ContactLens.ConversationalAnalytics.Configuration.ChannelConfiguration
    ContactLens.ConversationalAnalytics.Configuration.ChannelConfiguration.AnalyticsModes
    ContactLens.ConversationalAnalytics.Configuration.ChannelConfiguration.AnalyticsModes.*
    ContactLens.ConversationalAnalytics.Configuration.Enabled
    ContactLens.ConversationalAnalytics.Configuration.LanguageLocale
    ContactLens.ConversationalAnalytics.Configuration.RedactionConfiguration
    ContactLens.ConversationalAnalytics.Configuration.RedactionConfiguration.Behavior
    ContactLens.ConversationalAnalytics.Configuration.RedactionConfiguration.Entities
    ContactLens.ConversationalAnalytics.Configuration.RedactionConfiguration.Entities.*
    ContactLens.ConversationalAnalytics.Configuration.RedactionConfiguration.MaskMode
    ContactLens.ConversationalAnalytics.Configuration.RedactionConfiguration.Policy
    ContactLens.ConversationalAnalytics.Configuration.SentimentConfiguration
    ContactLens.ConversationalAnalytics.Configuration.SentimentConfiguration.Behavior
    ContactLens.ConversationalAnalytics.Configuration.SummaryConfiguration
    ContactLens.ConversationalAnalytics.Configuration.SummaryConfiguration.SummaryModes
    ContactLens.ConversationalAnalytics.Configuration.SummaryConfiguration.SummaryModes.* Customer
    Customer.Capabilities Customer.Capabilities.ScreenShare Customer.Capabilities.Video CustomerEndpoint
    CustomerEndpoint.Address CustomerEndpoint.Type CustomerId CustomerVoiceActivity
    CustomerVoiceActivity.GreetingEndTimestamp CustomerVoiceActivity.GreetingStartTimestamp DisconnectDetails
    DisconnectDetails.PotentialDisconnectIssue DisconnectReason DisconnectTimestamp ExternalThirdParty
    ExternalThirdParty.ExternalThirdPartyInteractionDuration GlobalResiliencyMetadata
    GlobalResiliencyMetadata.ActiveRegion GlobalResiliencyMetadata.OriginRegion
    GlobalResiliencyMetadata.TrafficDistributionGroupId InitialContactId InitiationMethod InitiationTimestamp
    InstanceARN LastPausedTimestamp LastResumedTimestamp LastUpdateTimestamp MediaStreams MediaStreams.*
    MediaStreams.*.Type NextContactId OutboundStrategy OutboundStrategy.** OutboundStrategy.Type PreviousContactId
    QualityMetrics QualityMetrics.Agent QualityMetrics.Agent.Audio QualityMetrics.Agent.Audio.PotentialQualityIssues
    QualityMetrics.Agent.Audio.PotentialQualityIssues.* QualityMetrics.Agent.Audio.QualityScore
    QualityMetrics.Customer QualityMetrics.Customer.Audio QualityMetrics.Customer.Audio.PotentialQualityIssues
    QualityMetrics.Customer.Audio.PotentialQualityIssues.*
    QualityMetrics.Customer.Audio.QualityScore Queue Queue.ARN Queue.DequeueTimestamp Queue.Duration
    Queue.EnqueueTimestamp Queue.Name Recording Recording.DeletionReason Recording.Location Recording.Status
    Recording.Type Recordings Recordings.* Recordings.*.DeletionReason Recordings.*.FragmentStartNumber
    Recordings.*.FragmentStopNumber Recordings.*.Location Recordings.*.MediaStreamType Recordings.*.ParticipantType
    Recordings.*.StartTimestamp Recordings.*.Status Recordings.*.StopTimestamp Recordings.*.StorageType References
    References.* References.*.Name References.*.Status References.*.Type References.*.Value RelatedContactId
    RoutingCriteria RoutingCriteria.** ScheduledTimestamp SegmentAttributes SegmentAttributes.** SystemEndpoint
    SystemEndpoint.Address SystemEndpoint.Type Tags Tags.** TotalPauseCount TotalPauseDurationInSeconds
    TransferCompletedTimestamp TransferredToEndpoint TransferredToEndpoint.Address TransferredToEndpoint.Type
    VoiceIdResult VoiceIdResult.** WisdomInfo WisdomInfo.SessionArn
""",
    Kind.AGENT_EVENT: """
    AWSAccountId AgentARN CurrentAgentSnapshot EventId EventTimestamp EventType InstanceARN PreviousAgentSnapshot
    Version
"""
    + " ".join(f"{name}AgentSnapshot.{path}" for name in ("Current", "Previous") for path in _SNAPSHOT.split()),
    Kind.CONTACT_LENS_SEGMENT: """
    AccountId Channel ContactId EventType InstanceId LanguageCode Segments Segments.* Segments.*.Categories
    Segments.*.Categories.MatchedCategories Segments.*.Categories.MatchedCategories.*
    Segments.*.Categories.MatchedDetails Segments.*.Categories.MatchedDetails.** Segments.*.PostContactSummary
    Segments.*.PostContactSummary.Content Segments.*.PostContactSummary.Status Segments.*.Transcript
    Segments.*.Transcript.BeginOffsetMillis Segments.*.Transcript.Content Segments.*.Transcript.EndOffsetMillis
    Segments.*.Transcript.Id Segments.*.Transcript.IssuesDetected Segments.*.Transcript.IssuesDetected.*
    Segments.*.Transcript.IssuesDetected.*.CharacterOffsets
    Segments.*.Transcript.IssuesDetected.*.CharacterOffsets.BeginOffsetChar
    Segments.*.Transcript.IssuesDetected.*.CharacterOffsets.EndOffsetChar Segments.*.Transcript.ParticipantId
    Segments.*.Transcript.ParticipantRole Segments.*.Transcript.Sentiment Segments.*.Utterance
    Segments.*.Utterance.BeginOffsetMillis Segments.*.Utterance.EndOffsetMillis Segments.*.Utterance.Id
    Segments.*.Utterance.PartialContent Segments.*.Utterance.ParticipantId Segments.*.Utterance.ParticipantRole
    Segments.*.Utterance.TranscriptId Version
""",
    Kind.OTHER: "**",
}


def unknown_paths(route: Route) -> Iterator[tuple[str, str]]:
    """Yield each path of a route's rules that meets no known field of its kinds, and the nearest one that is known."""
    known = [path for kind in route.kinds or Kind for path in _paths(_KNOWN[kind].split())]
    of_presets = {path for preset in PRESETS.values() for path in preset.read}
    for rule in route.rules:
        for path in rule.paths:
            if path not in of_presets and not any(_meet(path, one) for one in known):
                near = get_close_matches(show_path(path), [show_path(one) for one in known], 1, 0.0)
                yield show_path(path), near[0]


def is_known(path: FieldPath, kind: Kind) -> bool:
    """Tell whether a path meets a field that Connect is known to send."""
    return any(_meet(path, one) for one in _paths(_KNOWN[kind].split()))


def _paths(texts: Iterable[str]) -> list[FieldPath]:
    return [read_path(text) for text in texts]


def _meet(path: FieldPath, known: FieldPath) -> bool:
    """Tell whether two paths, either with wildcards, may name the same field."""
    if not path:
        return not known or known == (DEEP,)
    if path[0] == DEEP:
        return any(_meet(path[1:], known[start:]) for start in range(len(known) + 1))
    if not known:
        return False
    if known[0] == DEEP:
        return _meet(path, known[1:]) or _meet(path[1:], known)
    return (ANY in {path[0], known[0]} or path[0] == known[0]) and _meet(path[1:], known[1:])

"""One sentence for each statement of the templates, by its Sid; `<Route>` stands for the name of a route."""

SENTENCES: dict[str, str] = {
    # keys
    "AdministratorsManage": "the account manages the key: describe, rotate, disable, delete, change its policy. It may not "
    "encrypt, decrypt or make grants",
    "ConnectEncrypts": "trap 1: Connect's service-linked role may call `kms:GenerateDataKey`, or no record ever arrives. "
    "Without conditions, because AWS documents none for Connect's requests",
    "ConsumersDecrypt": "the roles of function, replay and archive decrypt, through Kinesis, for this stream",
    "WritersEncrypt": "the roles of function, replay and erasure encrypt, through S3, below the prefix",
    "ReadersDecrypt": "the readers that the parameter names decrypt, through S3, below the prefix",
    "EraserDecrypts": "the erase role reads what it rewrites, through S3, below the prefix",
    "EraserEncrypts": "the erase role writes dead letters again, without the contact",
    "FunctionEncrypts": "the function writes what cannot be delivered, and Lambda the batches that it gave up on",
    "ReplayDecrypts": "only replay (and erasure) read dead letters and batches that Lambda gave up on",
    "ReplayEncrypts": "replay empties dead letters that are delivered, and writes those that are refused again",
    "FirehoseWrites": "trap 2: Firehose's role on a second key. It includes `kms:Decrypt`, which Firehose documents for "
    "uploads in parts",
    "WritersSeal": "the roles of function and replay take the data keys that seal, for messages of this stack and route",
    "SealedReadersOpen": "the sealed readers that the parameter names open messages of this stack and route",
    "WritersMakeTokens": "the roles of function, replay and erasure make tokens",
    "AlarmsEncrypt": "CloudWatch encrypts what it publishes to the topic of alarms",
    "AthenaKeepsResults": "Athena keeps query results for the workgroups of the stack",
    "<Route>ReadersKeepResults": "the readers of the route use the key for results of their workgroup",
    # the bucket and the topic
    "DenyInsecureTransport": "denies plain HTTP; `s3:*`, so that the denial covers what S3 learns tomorrow",
    "DenyUnknownPrefixes": "denies puts below a prefix that is no route, dead letter, archive or `aws/lambda/`",
    "DenyReplication": "denies replication into the bucket, which asks other actions than a put",
    "DenyOtherKeysOnFailure": "batches that Lambda gave up on are stored under the dead-letter key, by the bucket's default or "
    "by name; `aws:kms` without a key, which means the account's managed key, is denied",
    "DenyOthersOnFailure": "only the function's role, as which Lambda puts, can put there: no other caller can plant a batch "
    "for the replay",
    "DenySseCOnFailure": "nor can it be put under a key of the caller's own",
    "DenyUnconditionalWrites": "denies puts that neither create nor replace what they have looked at: one could undo a newer "
    "delivery",
    "DenyOtherKeysOf<Route>": "denies puts under another key than the prefix's, or under none",
    "DenyOtherKeysOfDeadLetter": "the same below `dead-letter/`",
    "DenyOtherKeysOfArchive": "the same below `archive/`",
    "AlarmsPublish": "CloudWatch publishes the alarms of the stack",
    # the function
    "ReadTheStream": "reads this stream; shared by the roles of function, replay and archive",
    "DecryptTheStream": "and decrypts it, through Kinesis; the key's policy has to admit the role as well",
    "WriteCheckpoint": "claims a shard and commits its watermarks; it can delete no row",
    "WriteLogs": "writes to the log group of the stack",
    "DeadLetterPut": "puts dead letters under their key",
    "ReadDeadLetterMetadata": "sees the ETag of what a put would replace; without the key no content",
    "PutFailedBatches": "Lambda puts the batches that it gave up on, with the function's role",
    "ListBucketAsLambda": "Lambda looks at the bucket first, as AWS documents; requests of the function's code do not match",
    "DeadLetterEncrypt": "encrypts dead letters and batches that Lambda gave up on",
    "<Route>Put": "puts below the prefix under its key",
    "<Route>Encrypt": "encrypts with the prefix's key, through S3",
    "<Route>Seal": "takes the data keys that seal",
    "ReadObjectMetadata": "sees the ETag of what a put would replace; without the key no content",
    "MakeTokens": "makes tokens with the hash key",
    "ReadMapping": "the grant check reads whether the stream is being read",
    "WriteTraces": "Lambda traces the functions, with `Tracing=Active`",
    # replay and erasure
    "ListDeadLetters": "finds dead letters and batches that Lambda gave up on",
    "ListDelivered": "finds what is already delivered, by names",
    "ReadAndDeleteDeadLetters": "reads them; replay deletes what is delivered, erasure deletes old versions",
    "UseDeadLetterKey": "decrypts and encrypts dead letters",
    "DecryptFailedBatches": "decrypts batches that Lambda gave up on",
    "ListObjectsAndVersions": "finds every object, and old versions",
    "<Route>Rewrite": "decrypts an object and encrypts it again, without the contact",
    "ReadAndDeleteVersions": "reads objects, and deletes old versions where that is asked for",
    # the archive
    "ArchivePut": "what Firehose documents for its bucket, below `archive/`",
    "ArchiveUploads": "what Firehose documents for the bucket itself",
    "ArchiveEncrypt": "uses the archive's key, through S3",
    "ArchiveLog": "writes errors of the delivery to its log stream",
    # readers
    "<Route>Read": "readers fetch objects below the prefix",
    "<Route>List": "and list names there",
    "<Route>Decrypt": "and decrypt with its key, which has to admit them as well",
    "<Route>Open": "sealed readers open what the route seals; the key has to admit them as well",
    "ArchiveRead": "readers of the archive fetch objects",
    "ArchiveList": "and list names there",
    "ArchiveDecrypt": "and decrypt with its key, which has to admit them as well",
    "QueryWorkGroup": "queries in the workgroup of the route",
    "LookUpTables": "finds the tables of the route",
    "UseResultsKey": "uses the key of results, for this workgroup; the key has to admit the reader as well",
    # denials
    "DenyOtherServices": "no role of the stack can call another service, whatever a policy elsewhere allows",
    "DenyOtherBuckets": "nor touch another bucket: a bucket whose policy names the function's role gets no record",
    "DenyOtherStreams": "nor another stream",
    "DenyOtherTables": "nor another table",
    "DenyOtherKeys": "nor another key",
}

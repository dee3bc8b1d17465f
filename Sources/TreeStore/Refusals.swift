internal import FileAccess

// The names that a store, its manifests and its segments are refused with, as `Formats/tree-store.md` lists them.
extension Refusal.Name {
  static let notAStore = Refusal.Name("not-a-store", .badInput)
  static let missingManifest = Refusal.Name("missing-manifest", .badInput)
  static let missingSegment = Refusal.Name("missing-segment", .badInput)
  static let badMagic = Refusal.Name("bad-magic", .badInput)
  static let newerVersion = Refusal.Name("newer-version", .badInput)
  static let unknownFeature = Refusal.Name("unknown-feature", .badInput)
  static let wrongLength = Refusal.Name("wrong-length", .badInput)
  static let digestMismatch = Refusal.Name("digest-mismatch", .badInput)
  static let malformedManifest = Refusal.Name("malformed-manifest", .badInput)
  static let malformedSegment = Refusal.Name("malformed-segment", .badInput)
  static let malformedConfiguration = Refusal.Name("malformed-configuration", .badInput)
  static let segmentMismatch = Refusal.Name("segment-mismatch", .badInput)
  static let checksumMismatch = Refusal.Name("checksum-mismatch", .badInput)
  static let malformedRecord = Refusal.Name("malformed-record", .badInput)
  static let malformedFrame = Refusal.Name("malformed-frame", .badInput)
  static let nonZeroPadding = Refusal.Name("non-zero-padding", .badInput)
  static let missingChunk = Refusal.Name("missing-chunk", .badInput)
  static let tokenCountMismatch = Refusal.Name("token-count-mismatch", .badInput)

  static let modelMismatch = Refusal.Name("model-mismatch", .badInput)
  static let configurationMismatch = Refusal.Name("configuration-mismatch", .badInput)

  static let invalidChunk = Refusal.Name("invalid-chunk", .badInput)
  static let documentNaming = Refusal.Name("invalid-document-name", .usage)
  static let documentExists = Refusal.Name("document-exists", .cannotCreate)
  static let missingDocument = Refusal.Name("missing-document", .missing)
  static let writerFailed = Refusal.Name("writer-failed", .inputOutput)
}

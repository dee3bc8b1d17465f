public import FileAccess

// The names of the refusals of stores, manifests and segments, as `Formats/tree-store.md` lists them.
extension Refusal.Name {
  public static let notAStore = Refusal.Name("not-a-store", .badInput)
  public static let missingManifest = Refusal.Name("missing-manifest", .badInput)
  public static let missingSegment = Refusal.Name("missing-segment", .badInput)
  public static let missingTable = Refusal.Name("missing-table", .badInput)
  public static let malformedTable = Refusal.Name("malformed-table", .badInput)
  public static let tableMismatch = Refusal.Name("table-mismatch", .badInput)
  public static let unfinishedGeneration = Refusal.Name("unfinished-generation", .badInput)
  public static let badMagic = Refusal.Name("bad-magic", .badInput)
  public static let malformedManifest = Refusal.Name("malformed-manifest", .badInput)
  public static let malformedSegment = Refusal.Name("malformed-segment", .badInput)
  public static let malformedConfiguration = Refusal.Name("malformed-configuration", .badInput)
  public static let segmentMismatch = Refusal.Name("segment-mismatch", .badInput)
  public static let checksumMismatch = Refusal.Name("checksum-mismatch", .badInput)
  public static let malformedRecord = Refusal.Name("malformed-record", .badInput)
  public static let malformedFrame = Refusal.Name("malformed-frame", .badInput)
  public static let nonZeroPadding = Refusal.Name("non-zero-padding", .badInput)
  public static let missingChunk = Refusal.Name("missing-chunk", .badInput)
  /// The text that a store keeps of a document is not the one that was stored.
  public static let lostText = Refusal.Name("lost-text", .badInput)
  public static let tokenCountMismatch = Refusal.Name("token-count-mismatch", .badInput)

  public static let modelMismatch = Refusal.Name("model-mismatch", .badInput)
  public static let configurationMismatch = Refusal.Name("configuration-mismatch", .badInput)

  public static let invalidChunk = Refusal.Name("invalid-chunk", .badInput)
  public static let documentNaming = Refusal.Name("invalid-document-name", .usage)
  public static let documentExists = Refusal.Name("document-exists", .cannotCreate)
  public static let missingDocument = Refusal.Name("missing-document", .missing)
  public static let storeFull = Refusal.Name("store-full", .cannotCreate)
  public static let writerFailed = Refusal.Name("writer-failed", .inputOutput)
}

extension Refusal {
  /// Whether it says what a file holds, or that there is none. Any other says that nobody knows at present.
  var isOfContents: Bool { name.exitStatus == .badInput || name.exitStatus == .missing }
}

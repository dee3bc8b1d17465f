public import FileAccess

// Format: `Formats/model-pack.md` §Refusals.
extension Refusal.Name {
  public static let notAPack = Refusal.Name("not-a-pack", .badInput)
  public static let malformedHeader = Refusal.Name("malformed-header", .badInput)
  public static let unknownSection = Refusal.Name("unknown-section", .badInput)
  public static let missingSection = Refusal.Name("missing-section", .badInput)
  public static let misplacedSection = Refusal.Name("misplaced-section", .badInput)
  public static let nonzeroPadding = Refusal.Name("nonzero-padding", .badInput)
  public static let nonCanonicalMetadata = Refusal.Name("non-canonical-metadata", .badInput)
  public static let invalidMetadata = Refusal.Name("invalid-metadata", .badInput)
  public static let unsupportedArchitecture = Refusal.Name("unsupported-architecture", .badInput)
  public static let invalidText = Refusal.Name("invalid-text", .badInput)
  public static let malformedIndex = Refusal.Name("malformed-index", .badInput)
  public static let unknownEncoding = Refusal.Name("unknown-encoding", .badInput)
  public static let duplicateTensor = Refusal.Name("duplicate-tensor", .badInput)
  public static let unexpectedTensor = Refusal.Name("unexpected-tensor", .badInput)
  public static let missingTensor = Refusal.Name("missing-tensor", .badInput)
  public static let wrongShape = Refusal.Name("wrong-shape", .badInput)
  public static let wrongSize = Refusal.Name("wrong-size", .badInput)
  public static let misplacedTensor = Refusal.Name("misplaced-tensor", .badInput)
}

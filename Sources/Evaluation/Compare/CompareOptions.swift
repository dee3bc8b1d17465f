import CanonicalJSON
public import EvaluationTasks

/// How methods are compared.
public struct CompareOptions: Sendable {
  /// Nil: all that suit the model: trees where it has them, deep reading where it is plain.
  public var methods: [ComparedMethod]?
  /// Lengths of texts in windows of the model.
  public var windows = [1, 4, 16, 64]
  /// Rows of keys and values that stay of a text, as the model's cache keeps them; nil: half the window.
  public var cacheRows: Int?
  /// Their bytes, in place of rows.
  public var cacheBytes: Int?
  /// Documents that perplexity is measured on, at most.
  public var documentCount = 10
  /// Predicted tokens that count, the last of each document.
  public var scored = 256
  /// Samples of each task.
  public var sampleCount = 20
  public var style = TaskStyle.trainer
  /// Whether the texts of a source are one text.
  public var joinsTexts = false
  /// Whether documents of a text may share tokens, but for those that count.
  public var overlaps = false
  public var seed: UInt64 = 1

  public init() {}

  /// Few documents and samples, in short texts: to see that everything runs.
  public static var quick: CompareOptions {
    var options = CompareOptions()
    options.windows = [1, 4]
    options.documentCount = 2
    options.sampleCount = 1
    return options
  }

  /// Rows that every method can be held to.
  public static let rowMinimum = 32

  /// All but the methods and lengths, which name cells.
  var json: [JSONValue.Member] {
    [
      JSONValue.Member("documents", .integer(documentCount)), JSONValue.Member("scored", .integer(scored)),
      JSONValue.Member("samples", .integer(sampleCount)), JSONValue.Member("style", .string(style.rawValue)),
      JSONValue.Member("joins_texts", .boolean(joinsTexts)), JSONValue.Member("overlaps", .boolean(overlaps)),
      JSONValue.Member("seed", .integer(Int(seed))),
    ]
  }
}

public import ContextTrees
public import NodeBlocks

/// How perplexity is measured.
public struct PerplexityOptions: Sendable {
  /// The methods that are compared on the same tokens.
  public enum Method: String, Sendable, Hashable, CaseIterable {
    /// Running text with the context's trees.
    case shared
    /// The last window alone.
    case truncated
    /// StreamingLLM: sinks and recent tokens, one window in all.
    case streaming
  }

  /// Lengths of documents in windows.
  public var windows = [1, 2, 4, 8, 32, 128]
  /// Documents of each domain, at most.
  public var documentCount = 100
  /// Predicted tokens that count, the last of each document.
  public var scored = 256
  /// Tokens of the running text, at most; nil: the model's window.
  public var runningText: Int?
  public var methods = Method.allCases
  public var searches = [TreeSearch(.right)]
  public var encodings = [RowEncoding.int8]
  public var sinks = 4
  /// Windows that streaming reads, at most.
  public var streamingWindows = 8
  /// Whether what is read begins with the model's begin-of-text token, in place of its first token.
  public var beginsText = false
  /// Whether the texts of a source are one text, one after another.
  public var joinsTexts = false
  /// Whether documents of a text may share tokens, but for those that count.
  public var overlaps = false
  public var bootstrap = Bootstrap()
  /// How rows are distributed over the levels.
  var levels = RowLevels.geometric

  public init() {}
}

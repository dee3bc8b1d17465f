/// What a cache policy decides: which rows of the running text a token sees, for each layer, and which rows stay in
/// memory, for each layer and key-value head.
///
/// The cache stores rows and attention reads them; neither knows a policy. One object belongs to one session and may
/// keep what it has seen. A policy that drops no rows costs nothing.
protocol RowPolicy: AnyObject {
  /// What tokens see of the rows of a layer; nil: every row before them and their own. Always the same for a layer.
  func window(layer: Int) -> RowWindow?

  /// The rows of a head that memory is reserved for.
  /// - Parameters:
  ///   - capacity: tokens that the text may grow to.
  ///   - blockSize: tokens that are written together, at most.
  func rowCapacity(tokens capacity: Int, blockSize: Int) -> Int

  /// Whether `keptRows` is called after a layer has attended. Such a cache keeps its rows in floats, which can be
  /// dropped one by one; packed rows can only be dropped with the whole block whose scales they share.
  var choosesRows: Bool { get }

  /// Whether attention adds up the weights of each row.
  var needsWeights: Bool { get }

  /// The rows of a head that stay after a step; the others are not read again.
  /// - Returns: ascending ranges of `0 ..< step.rowCount`; nil keeps all.
  func keptRows(layer: Int, head: Int, after step: AttentionStep) -> [Range<Int>]?
}

extension RowPolicy {
  var choosesRows: Bool { false }
  var needsWeights: Bool { false }
  func keptRows(layer: Int, head: Int, after step: AttentionStep) -> [Range<Int>]? { nil }
}

/// The first rows of a text and the most recent ones: a token sees the first `sinks` of them and the last `recent`,
/// itself among them. A query is rotated to its slot in the window where it meets a sink, and to its position in the
/// text where it meets a recent row.
struct RowWindow: Equatable {
  var sinks: Int
  var recent: Int

  var rowCount: Int { sinks + recent }
}

/// What a layer and head have just attended to.
struct AttentionStep {
  /// Rows of the head, those of the step's tokens last.
  var rowCount: Int
  var tokenCount: Int
  /// Whether the prompt ends with this step; true of tokens that are read one at a time.
  var endsPrompt: Bool
  /// The attention weight of each row, summed over the step's queries and all heads of the group: (rows). Empty unless
  /// the policy needs weights.
  var weights: [Float]
}

/// Every token sees every token before it.
final class FullRows: RowPolicy {
  func window(layer: Int) -> RowWindow? { nil }

  func rowCapacity(tokens capacity: Int, blockSize: Int) -> Int { capacity }
}

/// StreamingLLM: see `CachePolicy.streaming`.
final class StreamingRows: RowPolicy {
  private let window: RowWindow

  init(_ window: RowWindow) {
    precondition(window.sinks >= 0 && window.recent > 0, "a token sees itself")
    self.window = window
  }

  func window(layer: Int) -> RowWindow? { window }

  func rowCapacity(tokens capacity: Int, blockSize: Int) -> Int {
    // The oldest recent row may be the last one of its block; a few more blocks keep moves rare.
    min(
      capacity,
      KeyValueCache.wholeBlocks(window.sinks) + KeyValueCache.wholeBlocks(window.recent + blockSize)
        + 5 * PackedRows.rowsTogether)
  }
}

extension CachePolicy {
  func makeRowPolicy() -> any RowPolicy {
    switch self {
    case .full: FullRows()
    case .streaming(let sinks, let recent): StreamingRows(RowWindow(sinks: sinks, recent: recent))
    }
  }
}

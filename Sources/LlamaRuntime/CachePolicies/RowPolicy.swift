/// What a cache policy decides: which rows of the running text a token sees, for each layer, and which rows stay in
/// memory, for each layer and key-value head.
///
/// The cache stores rows and attention reads them; neither knows a policy. One object belongs to one session and may
/// keep what it has seen. A policy that drops no rows costs nothing.
protocol RowPolicy: AnyObject {
  /// What tokens see of the rows of every layer; nil: every row before them and their own. Always the same.
  var window: RowWindow? { get }

  /// What chooses among the rows after a layer has attended. Such a cache keeps its rows in floats, which can be dropped
  /// one by one; packed rows can only be dropped with the whole block whose scales they share.
  var chooser: (any RowChooser)? { get }

  /// The blocks in which rows outside of the window are found again.
  var blocks: BlockMemory.Shape? { get }

  /// The rows of a head that memory is reserved for.
  /// - Parameters:
  ///   - capacity: tokens that the text may grow to.
  ///   - blockSize: tokens that are written together, at most.
  func rowCapacity(tokens capacity: Int, blockSize: Int) -> Int
}

extension RowPolicy {
  var window: RowWindow? { nil }
  var chooser: (any RowChooser)? { nil }
  var blocks: BlockMemory.Shape? { nil }
}

/// The first rows of a text and the most recent ones: a token sees the first `sinks` of them and the last `recent`,
/// itself among them, at its distance from them in the text.
struct RowWindow: Equatable {
  enum SinkDistance: Equatable {
    /// A query is rotated to its slot in the window where it meets a sink.
    case slot
    /// The same for all sinks that are not recent.
    case fixed(Int)
  }

  var sinks: Int
  var recent: Int
  var sinkDistance = SinkDistance.slot

  /// Tokens that see all before them as if there were no window.
  var wholeCount: Int {
    switch sinkDistance {
    case .slot: sinks + recent
    case .fixed: recent
    }
  }

  /// Positions that queries are rotated to, but for those in the text.
  var slotCount: Int {
    switch sinkDistance {
    case .slot: wholeCount
    case .fixed(let distance): max(recent, distance + 1)
    }
  }

  /// Sinks that stay where they were written.
  var sinksInPlace: Int { sinkDistance == .slot ? sinks : 0 }
}

/// Every token sees every token before it.
final class FullRows: RowPolicy {
  func rowCapacity(tokens capacity: Int, blockSize: Int) -> Int { capacity }
}

/// Sinks and recent rows: see `CachePolicy.streaming` and `.lmInfinite`; with blocks of the others, `.infLLM`.
final class WindowedRows: RowPolicy {
  let window: RowWindow?
  let blocks: BlockMemory.Shape?

  init(_ window: RowWindow, blocks: BlockMemory.Shape? = nil) {
    precondition(window.sinks >= 0 && window.recent > 0, "a token sees itself")
    self.window = window
    self.blocks = blocks
  }

  func rowCapacity(tokens capacity: Int, blockSize: Int) -> Int {
    guard let window else { return capacity }
    // The oldest recent row may be the last one of its block; a few more blocks keep moves rare.
    return min(
      capacity,
      KeyValueCache.wholeBlocks(window.sinksInPlace) + KeyValueCache.wholeBlocks(window.recent + blockSize)
        + 5 * PackedRows.rowsTogether)
  }
}

/// Rows that a chooser keeps.
final class ChosenRows: RowPolicy {
  let chooser: (any RowChooser)?

  init(_ chooser: any RowChooser) { self.chooser = chooser }

  func rowCapacity(tokens capacity: Int, blockSize: Int) -> Int {
    // With the one that is read, before one goes.
    min(capacity, chooser?.rowLimit.map { $0 + 1 } ?? capacity)
  }
}

extension CachePolicy {
  /// - Parameters:
  ///   - layerCount, kvHeadCount: of the model.
  ///   - kinds: of the model's tokens, for FastGen.
  func makeRowPolicy(layerCount: Int, kvHeadCount: Int, kinds: TokenKinds = TokenKinds()) -> any RowPolicy {
    switch self {
    case .full: FullRows()
    case .streaming(let sinks, let recent): WindowedRows(RowWindow(sinks: sinks, recent: recent))
    case .lmInfinite(let start, let recent):
      WindowedRows(RowWindow(sinks: start, recent: recent, sinkDistance: .fixed(recent)))
    case .infLLM(let initial, let recent, let block, let chosen, let representatives):
      WindowedRows(
        RowWindow(sinks: initial, recent: recent, sinkDistance: .fixed(recent - 1)),
        blocks: BlockMemory.Shape(
          initial: initial, block: block, chosen: chosen, representatives: representatives))
    case .h2o(let heavy, let recent): ChosenRows(HeavyHitters(heavy: heavy, recent: recent))
    case .snapKV(let rows, let window, let kernel):
      ChosenRows(PromptAttention(rows: rows, window: window, kernel: kernel))
    case .pyramidKV(let rows, let window, let kernel, let beta):
      ChosenRows(
        PromptAttention(
          rows: rows, window: window, kernel: kernel,
          pyramid: PromptAttention.Pyramid(beta: beta, layerCount: layerCount)))
    case .tova(let rows): ChosenRows(LatestAttention(rows: rows))
    case .fastGen(let recovery, let recent, let frequent, let window):
      ChosenRows(
        ProfiledHeads(
          recovery: recovery, recent: recent, frequent: frequent, window: window, kinds: kinds,
          layerCount: layerCount, kvHeadCount: kvHeadCount))
    }
  }
}

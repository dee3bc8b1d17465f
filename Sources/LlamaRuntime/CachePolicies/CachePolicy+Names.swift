extension CachePolicy {
  /// The policy's name.
  public var name: Name {
    switch self {
    case .full: .full
    case .streaming: .streaming
    case .lmInfinite: .lmInfinite
    case .h2o: .h2o
    case .snapKV: .snapKV
    case .pyramidKV: .pyramidKV
    case .tova: .tova
    case .fastGen: .fastGen
    case .infLLM: .infLLM
    }
  }

  /// The fewest rows that each policy can be made with.
  public static let leastRows = 16

  /// A policy by which a token sees as many rows of a head as given, in the proportions that its authors use: 4 sinks,
  /// or the first 10 tokens of LM-Infinite; as many heavy hitters as recent rows; 32 tokens of a prompt that choose
  /// (fewer with less than 64 rows), pooled over 7, and a twentieth of the mean in PyramidKV's last layer; InfLLM's window
  /// takes half of the rows, the first tokens and the blocks the others, 128 a block from 2,048 rows on and a sixteenth of
  /// all with less; FastGen recovers 0.95 of the attention with shares of 0.3.
  /// - Parameters:
  ///   - rows: at least `leastRows`; `full` and `fastgen` have as many as they have.
  ///   - sinks: of StreamingLLM; fewer than the rows.
  ///   - recovery: of FastGen.
  public init(_ name: Name, rows: Int, sinks: Int = 4, recovery: Double = 0.95) {
    precondition(rows >= Self.leastRows && (0..<rows).contains(sinks), "too few rows")
    switch name {
    case .full: self = .full
    case .streaming: self = .streaming(sinks: sinks, recent: rows - sinks)
    case .lmInfinite: self = .lmInfinite(start: 10, recent: rows - 10)
    case .h2o: self = .h2o(heavy: rows / 2, recent: rows - rows / 2)
    case .snapKV: self = .snapKV(rows: rows, window: min(32, rows / 2), kernel: 7)
    case .pyramidKV: self = .pyramidKV(rows: rows, window: min(32, rows / 2), kernel: 7, beta: 20)
    case .tova: self = .tova(rows: rows)
    case .fastGen: self = .fastGen(recovery: recovery, recent: 0.3, frequent: 0.3, window: 64)
    case .infLLM:
      let block = min(128, rows / 16)
      // The first tokens, and those that have left the window and are in no block yet, are as many as a block has.
      self = .infLLM(
        initial: block, recent: rows / 2, block: block, chosen: max((rows - rows / 2) / block - 2, 1),
        representatives: min(4, block))
    }
  }
}

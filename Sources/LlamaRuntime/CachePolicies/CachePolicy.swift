/// Which tokens of the running text later ones attend to, and at which positions.
///
/// Rows are the keys and values of a token for one key-value head of one layer. The policies that choose among rows
/// (`h2o` to `fastGen`) read a prompt with all its rows, as `full` does, but layer by layer, and choose when a layer has
/// attended: what stays in memory beyond the layer that is being read is what was chosen. Positions stay those of the
/// text, so that the model's window limits texts as without a policy. The others read texts without end.
public enum CachePolicy: Sendable, Hashable {
  /// All of them: the cache grows with the text.
  case full
  /// StreamingLLM: the first tokens (attention sinks) and the most recent ones, including the token itself, in memory
  /// that does not grow. Positions are slots of the cache: token t has slot min(t, sinks + recent - 1). Its distance to
  /// a recent token is the one in the text, its distance to a sink the one between their slots. Up to sinks + recent
  /// tokens this equals the full cache bit for bit. What a token sees does not depend on how many are read together.
  ///
  /// Source: arXiv 2309.17453, section 3.2.
  case streaming(sinks: Int, recent: Int)
  /// LM-Infinite: the most recent tokens at their distances, and those of the first ones that are not among them, at a
  /// distance of `recent`, whatever the true one is. Without the choice of further tokens in between.
  ///
  /// Source: arXiv 2308.16137, section 4.
  case lmInfinite(start: Int, recent: Int)
  /// H2O: the most recent tokens, and of the others those that got the most attention so far, by layer and head. Heads
  /// of a group add up theirs.
  ///
  /// Source: arXiv 2306.14048, section 4.
  case h2o(heavy: Int, recent: Int)
  /// SnapKV: when a prompt has been read, `rows` of its rows stay of each head: the last `window`, and of the others those
  /// that get the most attention from them, pooled with their neighbours: the largest of `kernel`, which is odd. What is
  /// read one token at a time stays. Heads of a group add up theirs.
  ///
  /// Source: arXiv 2404.14469, section 4.
  case snapKV(rows: Int, window: Int, kernel: Int)
  /// PyramidKV: SnapKV with more rows in lower layers than in higher ones, `rows` on average. The last layer has a
  /// `beta`th of the mean besides the window.
  ///
  /// Source: arXiv 2406.02069, section 4.
  case pyramidKV(rows: Int, window: Int, kernel: Int, beta: Int)
  /// TOVA: `rows` of each layer, those that the latest token attends to most, all heads taken together.
  ///
  /// Source: arXiv 2401.06104, section 3.
  case tova(rows: Int)
  /// FastGen: a profile for each head, found when the first prompt has been read: the first of special tokens; with
  /// punctuation; with the most attended ones, a share of the text; with the most recent ones, a share of the text; all,
  /// that gets at least the share `recovery` of the attention of the prompt's last `window` tokens. (The paper takes the
  /// whole prompt's attention, in a norm that it does not define; its last tokens see what later ones will see.)
  ///
  /// Source: arXiv 2310.01801, section 4.
  case fastGen(recovery: Double, recent: Double, frequent: Double, window: Int)
  /// InfLLM: the most recent tokens at their distances; at a distance of `recent` - 1 the first ones and `chosen` blocks
  /// of `block` tokens, which a piece of the text chooses by its queries and the keys of `representatives` tokens of each
  /// block, those that got the most attention while they were recent. Pieces are as long as blocks, or one token. All
  /// rows are kept, in memory that the system may write to a file.
  ///
  /// Source: arXiv 2402.04617, section 3.
  case infLLM(initial: Int, recent: Int, block: Int, chosen: Int, representatives: Int)

  /// What a policy is called by its authors.
  public enum Name: String, Sendable, Hashable, CaseIterable {
    case full, streaming
    case lmInfinite = "lm-infinite"
    case h2o
    case snapKV = "snapkv"
    case pyramidKV = "pyramidkv"
    case tova
    case fastGen = "fastgen"
    case infLLM = "infllm"

    /// Whether a number of rows is what the policy is made with.
    public var takesRows: Bool { self != .full && self != .fastGen }
  }

  /// The greatest distance of positions that the policy needs, and one; nil: as many positions as the text has tokens.
  public var positionCount: Int? {
    switch self {
    case .full, .h2o, .snapKV, .pyramidKV, .tova, .fastGen: nil
    case .streaming(let sinks, let recent): sinks + recent
    case .lmInfinite(_, let recent): recent + 1
    case .infLLM(_, let recent, _, _, _): recent
    }
  }

  /// Whether the policy chooses among the rows of each head when a prompt or a token has been read.
  public var choosesRows: Bool {
    switch self {
    case .full, .streaming, .lmInfinite, .infLLM: false
    case .h2o, .snapKV, .pyramidKV, .tova, .fastGen: true
    }
  }

  /// Whether a text gives the same, however many of its tokens are read together.
  public var readsInAnySlices: Bool {
    if case .infLLM = self { return false }
    return !choosesRows
  }
}

/// Tokens that FastGen treats by what they are.
public struct TokenKinds: Sendable, Hashable {
  /// Those that are no text: the begin of a text, the marks of a chat.
  public var special: Set<Int32>
  /// Those whose text is nothing but ASCII punctuation.
  public var punctuation: Set<Int32>

  public init(special: Set<Int32> = [], punctuation: Set<Int32> = []) {
    self.special = special
    self.punctuation = punctuation
  }
}

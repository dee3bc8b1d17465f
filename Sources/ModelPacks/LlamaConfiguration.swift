/// The architecture of a LLaMA, under the names of the field.
public struct LlamaConfiguration: Sendable, Hashable {
  public var hiddenSize: Int
  public var intermediateSize: Int
  public var layerCount: Int
  public var headCount: Int
  /// Key-value heads; query head q uses key-value head q · kvHeadCount / headCount.
  public var kvHeadCount: Int
  public var headDim: Int
  public var vocabularySize: Int
  public var rmsNormEpsilon: Float
  public var ropeTheta: Double
  public var ropeScaling: RopeScaling
  /// The trained window, in tokens.
  public var maxPositionCount: Int
  /// Whether the output projection is the embedding.
  public var tiesWordEmbeddings: Bool
  public var beginOfTextToken: Int32?
  public var endOfTextTokens: [Int32]
  /// Whether self-attention's projections to queries, keys and values add a bias.
  public var attentionInputBias: Bool
  /// Whether self-attention's output projection adds a bias.
  public var attentionOutputBias: Bool
  /// Whether the three projections of the MLP add a bias.
  public var mlpBias: Bool

  public init(
    hiddenSize: Int, intermediateSize: Int, layerCount: Int, headCount: Int, kvHeadCount: Int, headDim: Int,
    vocabularySize: Int, rmsNormEpsilon: Float, ropeTheta: Double, ropeScaling: RopeScaling, maxPositionCount: Int,
    tiesWordEmbeddings: Bool, beginOfTextToken: Int32?, endOfTextTokens: [Int32], attentionInputBias: Bool = false,
    attentionOutputBias: Bool = false, mlpBias: Bool = false
  ) {
    self.hiddenSize = hiddenSize
    self.intermediateSize = intermediateSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.vocabularySize = vocabularySize
    self.rmsNormEpsilon = rmsNormEpsilon
    self.ropeTheta = ropeTheta
    self.ropeScaling = ropeScaling
    self.maxPositionCount = maxPositionCount
    self.tiesWordEmbeddings = tiesWordEmbeddings
    self.beginOfTextToken = beginOfTextToken
    self.endOfTextTokens = endOfTextTokens
    self.attentionInputBias = attentionInputBias
    self.attentionOutputBias = attentionOutputBias
    self.mlpBias = mlpBias
  }
}

/// How the angles of rotary positions are stretched beyond the trained window.
public enum RopeScaling: Sendable, Hashable {
  case none
  /// Positions divided by the factor.
  case linear(factor: Double)
  /// NTK with a base that grows with the length of the sequence.
  case dynamic(factor: Double, originalPositionCount: Int)
  /// YaRN. Source: arXiv 2309.00071.
  case yarn(Yarn)
  /// LLaMA 3.1's rule.
  case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, originalPositionCount: Int)
  /// The angles of each pair (i, i + headDim / 2) divided by a number of its own: (headDim / 2). How a rule is written
  /// whose result is known, not its parameters.
  case divisors([Double])

  public struct Yarn: Sendable, Hashable {
    public var factor: Double
    public var originalPositionCount: Int
    public var betaFast: Double
    public var betaSlow: Double
    /// What cosines and sines are multiplied by. `0.1 · ln(factor) + 1` unless the checkpoint says otherwise.
    public var attentionFactor: Double
    /// Whether the corrected dimensions are rounded to whole ones.
    public var truncates: Bool

    public init(
      factor: Double, originalPositionCount: Int, betaFast: Double, betaSlow: Double, attentionFactor: Double,
      truncates: Bool
    ) {
      self.factor = factor
      self.originalPositionCount = originalPositionCount
      self.betaFast = betaFast
      self.betaSlow = betaSlow
      self.attentionFactor = attentionFactor
      self.truncates = truncates
    }
  }
}

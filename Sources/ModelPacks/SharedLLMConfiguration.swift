/// How a model reads the chunks of a context: SharedLLM's trees, or what CEPE's encoder makes of them.
/// Source: arXiv 2410.19318, section 3; of the encoder arXiv 2402.16617, section 2.
public struct SharedLLMConfiguration: Sendable, Hashable {
  /// M: the number of layers of the lower model, if it is no encoder, and of those layers of the upper model that read
  /// injected rows.
  public var injectedLayerCount: Int
  /// Which layers of the upper model read injected rows.
  public var injectionPlace: InjectionPlace
  /// L: tokens of a chunk.
  public var chunkSize: Int
  /// h: levels of a chunk's tree below its root.
  public var treeDepth: Int
  /// Tokens for each row that is kept of a node at the deepest level; doubles with every level upwards.
  public var leafRatio: Int
  public var positionMode: PositionMode
  public var injection: Injection
  public var lowerModel: LowerModel
  /// The sizes of a lower model that is an encoder: its tokens see each other before and behind, and what is kept of a
  /// token is its last state, which every injected layer turns into a key and a value of its own. Nil for the layers of
  /// a LLaMA, whose keys and values are kept.
  public var encoder: LlamaConfiguration?

  public init(
    injectedLayerCount: Int, injectionPlace: InjectionPlace = .bottom, chunkSize: Int, treeDepth: Int, leafRatio: Int,
    positionMode: PositionMode,
    injection: Injection, lowerModel: LowerModel, encoder: LlamaConfiguration? = nil
  ) {
    self.injectedLayerCount = injectedLayerCount
    self.injectionPlace = injectionPlace
    self.chunkSize = chunkSize
    self.treeDepth = treeDepth
    self.leafRatio = leafRatio
    self.positionMode = positionMode
    self.injection = injection
    self.lowerModel = lowerModel
    self.encoder = encoder
  }

  /// Layers of the lower model.
  public var lowerLayerCount: Int { encoder?.layerCount ?? injectedLayerCount }

  /// Which layers of the upper model read injected rows; the i-th of them reads those of the lower model's layer i, or,
  /// like all others, the states of an encoder.
  public enum InjectionPlace: String, Sendable, Hashable, CaseIterable {
    /// The first M; the paper's choice.
    case bottom
    /// The last M.
    case top
    /// As far apart as they can be, from the first on.
    case interleave
  }

  /// The layers of the upper model that read injected rows, ascending.
  /// - Parameter layerCount: N, layers of the upper model, M at least.
  public func injectedLayers(of layerCount: Int) -> [Int] {
    (0..<injectedLayerCount).map { i in
      switch injectionPlace {
      case .bottom: i
      case .top: layerCount - injectedLayerCount + i
      case .interleave: i * layerCount / injectedLayerCount
      }
    }
  }

  /// How the injected rows enter a layer.
  public enum Injection: String, Sendable, Hashable, CaseIterable {
    /// A cross-attention of its own between self-attention and MLP, with trained weights.
    case crossAttention = "cross-attention"
    /// One softmax over injected rows and running text. Needs no weights; nothing was trained for it.
    case mergedSoftmax = "merged-softmax"
  }

  /// Whose weights encode the chunks.
  public enum LowerModel: String, Sendable, Hashable, CaseIterable {
    /// The bottom layers of the upper model.
    case shared
    /// Its own: embedding, layers and final norm under `encoder.`.
    case own
  }
}

/// The angles of injected keys and of the queries that read them, for n chunks, chunk c and in-node position p.
public enum PositionMode: String, Sendable, Hashable, CaseIterable {
  /// Key c, query n.
  case replace
  /// Key p + c, query n.
  case compose
  /// Key p + c, query n + 1.
  case composePlusOne = "compose+1"
  /// Key p, query n + 1. The authors' released code computes this.
  case local
  /// Key p, query 0.
  case none
}

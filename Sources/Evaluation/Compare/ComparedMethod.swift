import LlamaRuntime
import ModelPacks

/// A way to read texts of any length, among those that are compared: how much of a text a model sees, and at which
/// positions.
public struct ComparedMethod: Sendable, Hashable, CaseIterable {
  public let name: String
  /// What the model sees, in words.
  public let summary: String
  let way: Way

  enum Way: Sendable {
    case policy(CachePolicy.Name)
    /// All tokens, at positions that are scaled to the length.
    case positions(PositionScaling.Rule)
    /// The end of the text alone.
    case truncated
    /// Trees of the text before the last tokens, which are read themselves; of an encoder they hold its states.
    case trees(ofEncoder: Bool)
    /// Chunks of the text before the last tokens that have their words.
    case deep
  }

  /// In the order of the table.
  public static let allCases: [ComparedMethod] =
    CachePolicy.Name.allCases.map { ComparedMethod($0.rawValue, $0.summary, .policy($0)) } + [
      ComparedMethod("truncated", "the last tokens alone", .truncated),
      ComparedMethod("linear", "all tokens, positions divided by the length in windows", .positions(.linear)),
      ComparedMethod("ntk", "all tokens, a rotary base for the length", .positions(.ntk)),
      ComparedMethod(
        "dynamic-ntk", "all tokens, a rotary base that grows with the text (factor 2)", .positions(.dynamicNTK)),
      ComparedMethod("yarn", "all tokens, positions of YaRN for the length", .positions(.yarn)),
      ComparedMethod(
        "shared", "context trees of the text before the last tokens, searched by cosine", .trees(ofEncoder: false)),
      ComparedMethod(
        "cepe", "an encoder's states of the text before the last tokens, the chunks nearest to them",
        .trees(ofEncoder: true)),
      ComparedMethod("deep", "stored chunks of the text that have the words of the last tokens", .deep),
    ]

  public init?(name: String) {
    guard let method = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = method
  }

  private init(_ name: String, _ summary: String, _ way: Way) {
    self.name = name
    self.summary = summary
    self.way = way
  }

  public static func == (a: ComparedMethod, b: ComparedMethod) -> Bool { a.name == b.name }

  public func hash(into hasher: inout Hasher) { hasher.combine(name) }
}

extension CachePolicy.Name {
  /// What a token sees, in words.
  fileprivate var summary: String {
    switch self {
    case .full: "all tokens"
    case .streaming: "the first and the most recent tokens, at positions of the cache"
    case .lmInfinite: "the same, the first ones at a fixed distance"
    case .h2o: "the most recent tokens and those that got the most attention"
    case .snapKV: "the tokens that the end of the prompt attends to"
    case .pyramidKV: "the same, more of them in lower layers"
    case .tova: "the tokens that the last one attends to"
    case .fastGen: "what each head needs, as many bytes as that takes"
    case .infLLM: "the most recent tokens and blocks of the others that they choose"
    }
  }
}

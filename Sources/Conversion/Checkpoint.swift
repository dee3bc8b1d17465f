public import FileAccess
public import ModelPacks
public import Tokenization

/// A trained model as it is published: the input of a conversion.
///
/// Each of the three sources has a protocol, so that another layout of files adds conformers and changes nothing else.
public struct Checkpoint: Sendable {
  /// Of the checkpoint as a whole, for messages.
  public let path: String
  public let configuration: any ConfigurationSource
  public let tokenizer: any TokenizerSource
  public let weights: any WeightSource

  public init(
    path: String, configuration: any ConfigurationSource, tokenizer: any TokenizerSource, weights: any WeightSource
  ) {
    self.path = path
    self.configuration = configuration
    self.tokenizer = tokenizer
    self.weights = weights
  }
}

/// The source of a model's configuration.
public protocol ConfigurationSource: Sendable {
  /// The file, for messages.
  var path: String { get }
  /// The files that were read besides the weights, for the provenance.
  var provenance: [PackProvenance.Source] { get }
  /// Lines for the person who converts, about what is not as one might expect.
  var notes: [String] { get }
  /// The licence of the weights, if the checkpoint names it.
  var licence: String? { get }

  /// - Parameter isSharedLLM: whether the checkpoint has what only SharedLLM has; then its class may have any name.
  /// - Throws: `Refusal` `unsupported-architecture`, `unsupported-configuration` or `invalid-configuration`.
  func llama(isSharedLLM: Bool) throws(Refusal) -> LlamaConfiguration

  /// - Throws: `Refusal` `unsupported-configuration` or `invalid-configuration`.
  func sharedLLM() throws(Refusal) -> SharedLLMDeclaration
}

extension ConfigurationSource {
  public var notes: [String] { [] }
  public var licence: String? { nil }
}

/// A configuration's settings for SharedLLM; nil for those that it leaves open.
public struct SharedLLMDeclaration: Sendable, Hashable {
  /// Whether it says that the checkpoint is one of SharedLLM, whatever tensors there are.
  public var isSharedLLM = false
  /// M.
  public var injectedLayerCount: Int?
  public var injectionPlace: SharedLLMConfiguration.InjectionPlace?
  /// L, in tokens.
  public var chunkSize: Int?
  /// h.
  public var treeDepth: Int?
  public var leafRatio: Int?
  /// Rows that are kept of each node, which imply the leaf ratio L / (2^h · rows).
  public var nodeRows: Int?
  public var positionMode: PositionMode?
  /// The sizes of CEPE's encoder.
  public var encoder: LlamaConfiguration?

  public init() {}
}

/// The source of a model's tokenizer.
public protocol TokenizerSource: Sendable {
  /// The files that were read, for the provenance.
  var provenance: [PackProvenance.Source] { get }
  /// nil for a checkpoint without one, whose pack takes token ids.
  var tokenizer: Tokenizer? { get }
  /// The Jinja programs that render conversations, and the file that each is from. No two have the same name.
  var chatTemplates: [(name: String, text: String, path: String)] { get }
  /// The spellings of the special tokens that templates refer to by name, such as `bos_token`.
  var specialTokenSpellings: [(key: String, spellings: [String])] { get }
  /// One line for each thing that the files say differently, or that was left out. Each names the files.
  var notes: [String] { get }
}

extension TokenizerSource {
  public var chatTemplates: [(name: String, text: String, path: String)] { [] }
  public var specialTokenSpellings: [(key: String, spellings: [String])] { [] }
  public var notes: [String] { [] }

  /// The template that is taken when nobody asks for another one.
  public var chatTemplate: (text: String, path: String)? {
    (chatTemplates.first { $0.name == "default" } ?? chatTemplates.first).map { ($0.text, $0.path) }
  }
}

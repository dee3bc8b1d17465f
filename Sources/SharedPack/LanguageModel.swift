package import ContextTrees
import Conversion
public import FileAccess
package import LlamaRuntime
public import ModelPacks
package import NodeBlocks
public import Tokenization
package import TreeStore

/// An open model pack: mapped, checked and ready to answer.
///
/// Immutable and safe to use from any number of tasks. Opening copies nothing: processes that open the same pack share
/// its pages. There is no `close`: a model lives as long as something uses it (a variable, a store that is open with
/// it, a response that is being written), and its pack stays mapped until then, whatever happens to the file's name.
public final class LanguageModel: Sendable {
  /// The pack that the model was opened from.
  public let pack: ModelPack
  package let runtime: LlamaModel
  /// Nil for a pack without one, which takes tokens only.
  public let tokenizer: Tokenizer?
  /// How a conversation becomes tokens; nil for a pack without a template.
  public let chatTemplate: ChatTemplate?
  /// Threads that share the work of all requests. Answers do not depend on their number.
  public var threadCount: Int { runtime.threads.threadCount }

  /// Opens a pack.
  /// - Parameters:
  ///   - path: of the pack.
  ///   - threadCount: nil takes the threads that all models of the process share, one for each processor.
  ///   - memoryLimit: bytes that the process may take; nil takes what the system and the process's control groups have
  ///     available now. The weights of a pack that does not fit are read ahead and dropped again in every pass.
  ///   - positions: how rotary positions are scaled, in place of the pack's own scaling, and the window with them. What
  ///     is stored of a text belongs to the scaling that it was read with.
  /// - Throws: `Refusal` `unfit-positions`; `Formats/model-pack.md` and `Formats/tokenizer.md` list the other names.
  public convenience init(
    opening path: String, threadCount: Int? = nil, memoryLimit: Int? = nil, positions: PositionScaling? = nil
  ) throws(Refusal) {
    let pack = try ModelPack(opening: path)
    if let fault = positions?.fault(of: pack.configuration) {
      throw Refusal(.unfitPositions, file: path, structure: "rotary positions", fault)
    }
    try self.init(
      LlamaModel(
        pack, positions: positions, threads: threadCount.map { ThreadPool(threadCount: max(1, $0)) } ?? .shared,
        memoryLimit: memoryLimit ?? AvailableMemory.byteCount() ?? .max))
  }

  /// Verifies the weights unless they are known to be as they were written: with damaged ones a model answers nonsense.
  ///
  /// Reads the whole pack, on all cores. What enters a store comes of weights that were verified at any rate.
  /// - Parameters:
  ///   - when: whether it counts that another process has verified the file.
  ///   - progress: called with the number of bytes that are checked, of all; from any thread, but one at a time. Not called
  ///     when nothing is to be done.
  /// - Throws: `Refusal` `digest-mismatch`, naming the first tensor that is not as it was written, and `file-changed`.
  public func verifyWeights(
    _ when: WeightVerification = .auto, progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) {
    let pack = pack
    try pack.verifyWeights(when, keepsPages: fitsInMemory) { progress($0, pack.byteCount) }
  }

  /// A model whose pack is open.
  /// - Throws: `Refusal`, as for opening.
  package init(_ runtime: LlamaModel) throws(Refusal) {
    pack = runtime.pack
    self.runtime = runtime
    let path = pack.path
    if let bytes = pack.tokenizer {
      do throws(TokenizerError) {
        tokenizer = try Tokenizer(serialized: bytes)
      } catch {
        throw Refusal(tokenizerError: error, file: path)
      }
    } else {
      tokenizer = nil
    }
    if let text = pack.chatTemplate, let tokenizer {
      do throws(TokenizerError) {
        chatTemplate = try ChatTemplate(serialized: text, tokenizer: tokenizer)
      } catch {
        throw Refusal(error, file: path)
      }
    } else {
      chatTemplate = nil
    }
  }

  /// The same model, whose work is done by other threads; the weights, which lie in the mapping, are shared.
  init(_ model: LanguageModel, threads: ThreadPool) {
    pack = model.pack
    runtime = LlamaModel(model.pack, positions: model.runtime.positions, threads: threads)
    tokenizer = model.tokenizer
    chatTemplate = model.chatTemplate
  }

  /// The sizes and settings of the LLaMA.
  public var configuration: LlamaConfiguration { runtime.configuration }

  /// Tokens that a prompt and its answer may have together: the trained window, as far as scaled positions stretch it, less
  /// the positions that injected rows take where they are merged.
  public var window: Int { runtime.window }

  /// Whether the weights stay in memory; if not, they are read again in every pass.
  public var fitsInMemory: Bool { !runtime.residency.streams }

  /// Whether contexts are injected without weights that were trained for that.
  public var injectionIsUntrained: Bool { runtime.sharedLLM?.injection == .mergedSoftmax }

  /// The tokenizer.
  /// - Throws: `Refusal` `no-tokenizer`.
  package func requireTokenizer() throws(Refusal) -> Tokenizer {
    guard let tokenizer else {
      throw Refusal(.noTokenizer, file: pack.path, "the pack has no tokenizer: it was converted without one")
    }
    return tokenizer
  }

  /// The form of the model's context trees and the layout of their nodes.
  /// - Throws: `Refusal` `no-injection` for a plain pack, `unsupported-encoding` when the model's heads have no such rows.
  package func requireTrees(_ encoding: RowEncoding) throws(Refusal) -> (shape: TreeShape, layout: NodeBlockLayout) {
    guard let shape = runtime.treeShape else {
      throw Refusal(.noInjection, file: pack.path, "a plain model has no context trees")
    }
    guard let layout = runtime.nodeLayout(encoding) else {
      throw Refusal(
        .unsupportedEncoding, file: pack.path,
        "int4 rows have at most \(RowEncoding.int4HeadDimLimit) numbers, and this model's have more")
    }
    return (shape, layout)
  }

  /// The lower model, which encodes chunks.
  /// - Parameter moments: receives the inputs of the lower model's matrices.
  /// - Throws: `Refusal` as `requireTrees`.
  package func makeTreeEncoder(_ encoding: RowEncoding, moments: SecondMoments? = nil) throws(Refusal) -> TreeEncoder {
    _ = try requireTrees(encoding)
    guard let encoder = TreeEncoder(runtime, encoding: encoding, moments: moments) else {
      preconditionFailure("a model with trees has an encoder")
    }
    return encoder
  }

  /// The configuration of the stores that this model can read.
  /// - Throws: `Refusal` as `requireTrees`.
  package func storeConfiguration(_ encoding: RowEncoding) throws(Refusal) -> TreeStoreConfiguration {
    let (shape, layout) = try requireTrees(encoding)
    return TreeStoreConfiguration(
      modelIdentity: pack.identity, shape: shape, layout: layout, embeddingSize: runtime.nodeEmbeddingSize,
      rowNumerics: runtime.rowNumerics)
  }
}

extension Refusal {
  init(tokenizerError error: TokenizerError, file: String) {
    self.init(
      Name(error.name, .badInput), file: file,
      structure: ["tokenizer", error.structure].filter { !$0.isEmpty }
        .joined(separator: ", "), error.fault)
  }
}

extension Refusal.Name {
  /// A pack was converted without a tokenizer, and takes tokens only.
  public static let noTokenizer = Refusal.Name("no-tokenizer", .badInput)
  /// A plain pack has no context trees, or none of its texts can be read before a question.
  public static let noInjection = Refusal.Name("no-injection", .badInput)
  /// A model cannot be read with scaled positions as they were asked for.
  public static let unfitPositions = Refusal.Name("unfit-positions", .usage)
  /// A pack's chat template has a form that this version does not know.
  public static let chatTemplateUnknown = Refusal.Name("chat-template-unknown", .badInput)
}

internal import ContextTrees
internal import FileAccess
internal import ModelPacks
internal import NodeBlocks

/// What belongs to one text: the keys and values of its tokens, what is injected into it, and the angles of its positions.
///
/// A pass reads tokens of one text or of several. Not thread-safe.
final class RunningText {
  let model: LlamaModel
  let cache: KeyValueCache
  let rotary: RotaryCache
  /// What each injected layer reads; empty without a context.
  let injectedRows: [InjectedRows]
  private let injection: SharedLLMConfiguration.Injection?
  /// Keep the memory that the spans point into.
  private let context: InjectedContext?
  private let prefix: TextPrefix?
  /// The files that the rows before the text are mapped from.
  let mappings: [MappedFile]
  /// Where the largest weights of the prefix's rows are collected, layer by layer; nil for nowhere.
  var prefixPeaks: [FloatBuffer]?

  /// - Parameter blockSize: tokens that are read together, at most.
  init(
    _ model: LlamaModel, capacity: Int, context: InjectedContext?, prefix: TextPrefix?, rowPolicy: any RowPolicy,
    blockSize: Int, encoding: RowEncoding? = nil, scratch: ScratchMapping? = nil
  ) {
    self.model = model
    let configuration = model.configuration
    self.prefix = prefix
    precondition(prefix.map { $0.layout == model.textRowLayout } ?? true, "the prefix is another model's")
    precondition(prefix == nil || context == nil, "a text has one beginning")
    let context = context.flatMap { $0.rowCount > 0 ? $0 : nil }
    if let layout = context?.layout {
      precondition(layout == model.injectedLayout(layout.encoding), "the context is another model's")
    }
    self.context = context
    mappings = prefix?.mappings ?? context?.mappings ?? []
    injection = context == nil ? nil : model.sharedLLM?.injection
    let firstPosition = prefix?.tokenCount ?? (injection == .mergedSoftmax ? model.mergedPositionOffset : 0)
    rotary = RotaryCache(
      RotaryTable(configuration, sequenceLength: 0),
      from: prefix.map { $0.tokenCount - max($0.shifts.upperBound, 0) } ?? 0)
    cache = model.makeCache(
      layerCount: configuration.layerCount, capacity: capacity, blockSize: blockSize, policy: rowPolicy,
      firstPosition: firstPosition, encoding: encoding, scratch: scratch)
    if let context, let shared = model.sharedLLM {
      let chunkCount = context.chunks.count
      var rows = [InjectedRows](repeating: .none, count: configuration.layerCount)
      for (source, layer) in shared.injectedLayers(of: configuration.layerCount).enumerated() {
        rows[layer] = context.rows(layer: source) { chunk in
          // Merged rows carry their in-node position and meet queries that are turned by their own.
          shared.injection == .mergedSoftmax
            ? .slot : .fixed(shared.positionMode.queryAngle(chunk: chunk, of: chunkCount))
        }
      }
      injectedRows = rows
      rotary.prepare(0..<chunkCount + 2)
    } else {
      injectedRows = (0..<configuration.layerCount).map { prefix?.rows(layer: $0) ?? .none }
      if let prefix, prefix.shifts.lowerBound < 0 {
        rotary.prepare(0..<firstPosition + capacity - prefix.shifts.lowerBound)
      }
    }
    if let slotCount = cache.slotCount {
      rotary.keep(below: max(firstPosition + slotCount, (context?.chunks.count ?? 0) + 2))
    } else {
      rotary.reserve(below: firstPosition + capacity)
    }
  }

  /// Whether some layers attend to injected rows by themselves, apart from the text.
  var crossAttends: Bool { injection == .crossAttention }

  /// The injected rows of a layer that share the softmax with the text.
  func mergedRows(layer: Int) -> InjectedRows {
    prefix != nil || injection == .mergedSoftmax ? injectedRows[layer] : .none
  }

  /// Called before tokens are read.
  func prepare(for tokens: some Collection<Int32>) {
    let tokenCount = tokens.count
    precondition(
      tokenCount > 0 && tokenCount <= cache.capacity - cache.count, "the running text does not fit its capacity")
    cache.willRead(tokens)
    adjustScaling(sequenceLength: cache.firstPosition + cache.slots(of: cache.count + tokenCount))
  }

  /// The dynamic scaling's frequencies depend on the length of the sequence: keys in the cache are turned on when it
  /// grows beyond the trained window.
  private func adjustScaling(sequenceLength: Int) {
    guard case .dynamic = model.configuration.ropeScaling else { return }
    let old = rotary.table
    let new = RotaryTable(model.configuration, sequenceLength: sequenceLength)
    guard new.frequencies != old.frequencies else { return }
    cache.rerotate(from: old, to: new, Compute(threads: model.threads))
    rotary.replaceTable(new)
  }
}

/// Tokens of a text that go through the layers in one pass.
struct TextSlice {
  let text: RunningText
  /// Their rows in the buffers of the pass.
  let rows: Range<Int>
}

extension Collection<TextSlice> {
  /// Tokens of slices that lie one behind the other.
  var tokenCount: Int { reduce(0) { $0 + $1.rows.count } }
}

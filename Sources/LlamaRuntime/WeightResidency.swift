internal import ModelPacks

/// Which weights of a pack stay in memory, and which are read again for every pass: decided once, when a model is
/// opened.
///
/// Weights stay where they are, in the mapping, in either case. What differs is only which pages the kernel is asked to
/// read ahead and to drop.
public struct WeightResidency: Sendable, Hashable {
  /// Whether the pack is larger than what it may take of memory.
  public let streams: Bool
  /// Layers from the bottom that stay although the others do not: those that read injected rows and encode trees come
  /// first.
  public let residentLayerCount: Int

  /// Everything stays.
  static let whole = WeightResidency(streams: false, residentLayerCount: 0)

  init(_ weights: LlamaWeights, in pack: ModelPack, memoryLimit: Int) {
    self.init(
      layerByteCounts: weights.layers.map(\.byteRange.count), packByteCount: pack.byteCount, memoryLimit: memoryLimit)
  }

  /// - Parameters:
  ///   - layerByteCounts: of the layers, from the bottom.
  ///   - packByteCount: of all weights.
  ///   - memoryLimit: bytes that the process may take.
  init(layerByteCounts: [Int], packByteCount: Int, memoryLimit: Int) {
    // Keys, values and activations need room as well.
    guard packByteCount > memoryLimit - memoryLimit / 8 else {
      self = .whole
      return
    }
    // While weights are streamed, one layer is being dropped, one used and one read. The room for them may be less than
    // that.
    var room = memoryLimit - memoryLimit / 4 - 3 * (layerByteCounts.max() ?? 0)
    let resident = layerByteCounts.prefix { layer in
      room -= layer
      return room >= 0
    }
    self.init(streams: true, residentLayerCount: resident.count)
  }

  private init(streams: Bool, residentLayerCount: Int) {
    self.streams = streams
    self.residentLayerCount = residentLayerCount
  }
}

internal import FileAccess
internal import ModelPacks

/// Reads the weights of a pass one stage ahead of it and drops them behind it, for a pack that is larger than memory.
///
/// A stage is a layer, or the head above them. Not thread-safe: it belongs to one session or encoder.
final class WeightStream {
  /// The bytes of each stage in the pack, in the order of a pass, which begins anew behind the last.
  private let stages: [Range<Int>]
  /// The number of stages, from the first, that are never dropped.
  private let residentCount: Int
  private let readAhead: ReadAhead
  private var isRead: [Bool]
  private var current: Int?

  init(_ pack: ModelPack, stages: [Range<Int>], residentCount: Int) {
    self.stages = stages
    self.residentCount = residentCount
    readAhead = pack.makeReadAhead()
    isRead = stages.map { _ in false }
  }

  /// Called when the pass reaches a stage.
  func enter(_ stage: Int) {
    let last = current
    current = stage
    read(stage)
    if let last, last != stage, last >= residentCount {
      readAhead.drop(stages[last])
      isRead[last] = false
    }
    // Resident stages are in memory: the next one to read is the first that is not.
    let next = (1..<max(stages.count, 1)).lazy.map { (stage + $0) % self.stages.count }
      .first { $0 >= self.residentCount || !self.isRead[$0] }
    if let next { read(next) }
  }

  private func read(_ stage: Int) {
    guard !isRead[stage] else { return }
    isRead[stage] = true
    readAhead.read(stages[stage])
  }
}

extension LlamaModel {
  /// Tokens of a prompt that go through a layer together.
  var promptBlockSize: Int { 256 }

  /// What reads weights ahead of a pass through a stack of layers and its head; nil where all of them stay in memory.
  func makeWeightStream(_ weights: LlamaWeights) -> WeightStream? {
    guard residency.streams else { return nil }
    let stages = weights.layers.map(\.byteRange) + (weights.head.map { [$0.byteRange] } ?? [])
    let isUpper = weights.layers[0].byteRange == self.weights.layers[0].byteRange
    return WeightStream(pack, stages: stages, residentCount: isUpper ? residency.residentLayerCount : 0)
  }
}

import Glibc
internal import ModelPacks

/// Cosines and sines of rotary positions.
/// Source: arXiv 2104.09864; the scalings as in `ModelPacks.RopeScaling`.
struct RotaryTable: Sendable {
  let headDim: Int
  /// What a product of two rotated vectors is multiplied by (YaRN's attention factor, squared).
  let scoreFactor: Float
  /// Angle per position of each pair (i, i + headDim / 2), in radians: (headDim / 2).
  let frequencies: [Double]

  /// - Parameter sequenceLength: tokens of the whole sequence, which the dynamic scaling depends on.
  init(_ configuration: LlamaConfiguration, sequenceLength: Int) {
    headDim = configuration.headDim
    let dimension = Double(configuration.headDim)
    let exponents = (0..<configuration.headDim / 2).map { Double(2 * $0) / dimension }
    func frequencies(base: Double) -> [Double] { exponents.map { pow(base, -$0) } }
    let plain = frequencies(base: configuration.ropeTheta)
    var attentionFactor = 1.0
    switch configuration.ropeScaling {
    case .none: self.frequencies = plain
    case .linear(let factor): self.frequencies = plain.map { $0 / factor }
    case .dynamic(let factor, let original):
      let length = Double(max(sequenceLength, original))
      let growth = factor * length / Double(original) - (factor - 1)
      self.frequencies = frequencies(base: configuration.ropeTheta * pow(growth, dimension / (dimension - 2)))
    case .yarn(let yarn):
      attentionFactor = yarn.attentionFactor
      self.frequencies = Self.yarnFrequencies(yarn, plain: plain, theta: configuration.ropeTheta, dimension: dimension)
    case .llama3(let factor, let low, let high, let original):
      self.frequencies = plain.map { frequency in
        let wavelength = 2 * Double.pi / frequency
        let turns = Double(original) / wavelength
        if turns > high { return frequency }
        if turns < low { return frequency / factor }
        let smooth = (turns - low) / (high - low)
        return (1 - smooth) * frequency / factor + smooth * frequency
      }
    case .divisors(let divisors): self.frequencies = zip(plain, divisors).map { $0 / $1 }
    }
    scoreFactor = Float(attentionFactor * attentionFactor)
  }

  /// Source: arXiv 2309.00071, section 3.2.
  private static func yarnFrequencies(
    _ yarn: RopeScaling.Yarn, plain: [Double], theta: Double, dimension: Double
  ) -> [Double] {
    func pair(turns: Double) -> Double {
      dimension * log(Double(yarn.originalPositionCount) / (turns * 2 * Double.pi)) / (2 * log(theta))
    }
    var low = pair(turns: yarn.betaFast)
    var high = pair(turns: yarn.betaSlow)
    if yarn.truncates {
      low = low.rounded(.down)
      high = high.rounded(.up)
    }
    low = max(low, 0)
    high = min(high, dimension - 1)
    if low == high { high += 0.001 }
    return plain.enumerated().map { index, frequency in
      let ramp = min(max((Double(index) - low) / (high - low), 0), 1)
      return ramp * frequency / yarn.factor + (1 - ramp) * frequency
    }
  }

  /// Cosines, then sines, of one position: (2, headDim / 2).
  static func angles(_ frequencies: [Double], position: Int) -> [Float] {
    var result: [Float] = []
    append(frequencies, position: position, to: &result)
    return result
  }

  fileprivate static func append(_ frequencies: [Double], position: Int, to angles: inout [Float]) {
    for frequency in frequencies { angles.append(Float(cos(frequency * Double(position)))) }
    for frequency in frequencies { angles.append(Float(sin(frequency * Double(position)))) }
  }
}

/// The angles of positions, computed when they are first needed.
@safe final class RotaryCache {
  private(set) var table: RotaryTable
  /// The first position that anything asks for.
  private let start: Int
  /// Of positions from `start` on: (positions, 2, headDim / 2).
  private var angles: [Float] = []
  /// Positions from here on are kept only while their block is read; nil keeps all.
  private var limit: Int?
  private var block: (start: Int, angles: [Float]) = (0, [])

  init(_ table: RotaryTable, from start: Int = 0) {
    self.table = table
    self.start = start
  }

  /// Computes all angles anew from another table.
  func replaceTable(_ new: RotaryTable) {
    let end = knownEnd
    table = new
    angles = []
    block = (0, [])
    if end > start { prepare(start..<end) }
  }

  private var knownEnd: Int { start + angles.count / max(table.headDim, 1) }

  /// Makes positions available.
  func prepare(_ positions: Range<Int>) {
    if let limit, positions.upperBound > limit {
      guard positions.lowerBound != block.start || positions.count * table.headDim > block.angles.count else { return }
      block.start = positions.lowerBound
      block.angles.removeAll(keepingCapacity: true)
      for position in positions { RotaryTable.append(table.frequencies, position: position, to: &block.angles) }
    } else if positions.upperBound > knownEnd {
      for position in knownEnd..<positions.upperBound {
        RotaryTable.append(table.frequencies, position: position, to: &angles)
      }
    }
  }

  /// Makes positions below `limit` available for good, and those above only for a block at a time, so that a text
  /// without end takes no more memory.
  func keep(below limit: Int) {
    prepare(0..<limit)
    self.limit = limit
  }

  /// Reserves the memory of positions below `end` at once.
  func reserve(below end: Int) { angles.reserveCapacity((end - start) * table.headDim) }

  /// Calls `body` with the cosines and the sines of a position: (headDim / 2) each.
  func with(_ position: Int, _ body: (UnsafePointer<Float>, UnsafePointer<Float>) -> Void) {
    let half = table.headDim / 2
    let isKnown = position < knownEnd
    let offset = (position - (isKnown ? start : block.start)) * 2 * half
    unsafe (isKnown ? angles : block.angles).withUnsafeBufferPointer { buffer in
      precondition(offset >= 0 && offset + 2 * half <= buffer.count, "the position was not prepared")
      guard let base = buffer.baseAddress else { return }
      let cosines = unsafe base + offset
      unsafe body(cosines, cosines + half)
    }
  }
}

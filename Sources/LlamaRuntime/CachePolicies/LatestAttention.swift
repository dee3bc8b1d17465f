/// TOVA: see `CachePolicy.tova`.
final class LatestAttention: RowChooser {
  private let rows: Int
  /// What the latest token gives each row of a layer. The lists of its heads are the same.
  private var weights: [Float] = []

  init(rows: Int) {
    precondition(rows > 0, "the latest token stays")
    self.rows = rows
  }

  var rowLimit: Int? { rows }

  func weighedQueries(ofPrompt count: Int) -> Int { 1 }

  var weighsSingleTokens: Bool { true }

  func add(_ weights: Span<Float>, to rows: inout RowList, layer: Int, head: Int) {
    if head == 0 {
      self.weights.removeAll(keepingCapacity: true)
      for row in 0..<rows.count { self.weights.append(weights[row]) }
    } else {
      for row in 0..<rows.count { self.weights[row] += weights[row] }
    }
  }

  func choose(
    among rows: inout RowList, layer: Int, head: Int, after step: ChoiceStep, dropping dropped: inout [Int]
  ) {
    let (positions, weights) = (rows.positions, weights)
    rows.appendLowest(
      rows.count - self.rows, score: { weights[$0] }, among: { Int(positions[$0]) != step.latest }, to: &dropped)
  }
}

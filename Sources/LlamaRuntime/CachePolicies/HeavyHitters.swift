/// H2O: see `CachePolicy.h2o`.
final class HeavyHitters: RowChooser {
  private let heavy: Int
  private let recent: Int

  init(heavy: Int, recent: Int) {
    precondition(heavy >= 0 && recent > 0, "the latest token stays")
    (self.heavy, self.recent) = (heavy, recent)
  }

  var rowLimit: Int? { heavy + recent }

  func weighedQueries(ofPrompt count: Int) -> Int { count }

  var weighsSingleTokens: Bool { true }

  func add(_ weights: Span<Float>, to rows: inout RowList, layer: Int, head: Int) { rows.add(weights) }

  func choose(
    among rows: inout RowList, layer: Int, head: Int, after step: ChoiceStep, dropping dropped: inout [Int]
  ) {
    let (positions, scores) = (rows.positions, rows.scores)
    rows.appendLowest(
      rows.count - heavy - recent, score: { scores[$0] }, among: { Int(positions[$0]) < step.textCount - recent },
      to: &dropped)
  }
}

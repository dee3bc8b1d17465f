/// SnapKV and PyramidKV: see `CachePolicy.snapKV` and `.pyramidKV`.
final class PromptAttention: RowChooser {
  /// How rows are spread over the layers.
  struct Pyramid {
    var beta: Int
    var layerCount: Int
  }

  private let rows: Int
  private let window: Int
  private let kernel: Int
  private let pyramid: Pyramid?

  init(rows: Int, window: Int, kernel: Int, pyramid: Pyramid? = nil) {
    precondition(window > 0 && rows > window && kernel % 2 == 1 && pyramid?.beta ?? 1 > 0, "rows beside the window")
    (self.rows, self.window, self.kernel, self.pyramid) = (rows, window, kernel, pyramid)
  }

  /// What follows a prompt stays.
  var rowLimit: Int? { nil }

  func weighedQueries(ofPrompt count: Int) -> Int { min(window, count) }

  var weighsSingleTokens: Bool { false }

  func add(_ weights: Span<Float>, to rows: inout RowList, layer: Int, head: Int) { rows.add(weights) }

  func choose(
    among rows: inout RowList, layer: Int, head: Int, after step: ChoiceStep, dropping dropped: inout [Int]
  ) {
    guard step.isPrompt else { return }
    if rows.count > self.rows {
      let window = weighedQueries(ofPrompt: step.count)
      // In the order of their tokens, those of the window last.
      let order = rows.inOrder.dropLast(window)
      let scores = rows.scores
      var pooled = [Float](repeating: .infinity, count: rows.count)
      for (place, row) in order.enumerated() {
        let neighbours = max(place - kernel / 2, 0)..<min(place + kernel / 2 + 1, order.count)
        pooled[row] = neighbours.reduce(0) { max($0, scores[order[$1]]) }
      }
      let kept = keptBesideWindow(layer: layer, window: window, rowCount: rows.count)
      rows.appendLowest(order.count - kept, score: { pooled[$0] }, among: { pooled[$0] < .infinity }, to: &dropped)
    }
    // The next prompt's queries choose anew.
    for row in rows.scores.indices { rows.scores[row] = 0 }
  }

  /// Rows of a layer that stay beside the window, of more than `rows`.
  private func keptBesideWindow(layer: Int, window: Int, rowCount: Int) -> Int {
    let mean = rows - window
    guard let pyramid, pyramid.layerCount > 1, rowCount >= 2 * mean else { return mean }
    var least = mean / pyramid.beta
    var most = 2 * mean - least
    if most >= rowCount - window {
      most = rowCount - window
      least = 2 * mean - most
    }
    return most - layer * ((most - least) / (pyramid.layerCount - 1))
  }
}

/// Where the documents that perplexity is measured on lie in their texts.
struct DocumentPositions {
  struct Position: Equatable {
    var text: Int
    /// Behind the last token.
    var end: Int
  }

  let positions: [Position]

  /// Takes turns among the texts that are long enough until there are `count` documents or no room is left. One
  /// document of a text lies in its middle; several are spread from its first tokens to its last.
  /// - Parameters:
  ///   - tokenCounts: of the texts.
  ///   - length: tokens of a document.
  ///   - spacing: tokens between the ends of two documents of a text, at least: `length` when no token may be in two.
  ///   - step, offset: documents end `offset` tokens behind a multiple of `step` tokens of their text.
  init(tokenCounts: [Int], length: Int, count: Int, spacing: Int, step: Int = 1, offset: Int = 0) {
    // Steps before the end of the first document, steps that the others can lie behind it, and steps between two.
    let first = max(length - offset + step - 1, 0) / step
    let space = tokenCounts.map { $0 < offset ? -1 : ($0 - offset) / step - first }
    let between = (spacing + step - 1) / step
    let room = space.map { $0 < 0 ? 0 : 1 + $0 / between }
    var taken = tokenCounts.map { _ in 0 }
    var total = 0
    while total < count, let free = Self.leastTaken(taken, room) {
      taken[free] += 1
      total += 1
    }
    positions = taken.enumerated().flatMap { text, count -> [Position] in
      func position(_ steps: Int) -> Position { Position(text: text, end: (first + steps) * step + offset) }
      if count == 1 { return [position(space[text] / 2)] }
      return (0..<count).map { position(space[text] * $0 / (count - 1)) }
    }
  }

  private static func leastTaken(_ taken: [Int], _ room: [Int]) -> Int? {
    taken.indices.filter { taken[$0] < room[$0] }.min { (taken[$0], $0) < (taken[$1], $1) }
  }
}

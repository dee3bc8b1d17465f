/// Where in texts the documents lie that perplexity is measured on.
struct DocumentPlaces {
  struct Place: Equatable {
    var text: Int
    /// Behind the last token.
    var end: Int
  }

  let places: [Place]

  /// Takes turns among the texts that are long enough until there are `count` documents or no place is left. One
  /// document of a text lies in its middle; several are spread from its first tokens to its last.
  /// - Parameters:
  ///   - tokenCounts: of the texts.
  ///   - length: tokens of a document.
  ///   - spacing: tokens between the ends of two documents of a text, at least: `length` when no token may be in two.
  init(tokenCounts: [Int], length: Int, count: Int, spacing: Int) {
    let room = tokenCounts.map { $0 < length ? 0 : 1 + ($0 - length) / spacing }
    var taken = tokenCounts.map { _ in 0 }
    var total = 0
    while total < count, let free = Self.leastTaken(taken, room) {
      taken[free] += 1
      total += 1
    }
    places = taken.enumerated().flatMap { text, count -> [Place] in
      let rest = tokenCounts[text] - length
      if count == 1 { return [Place(text: text, end: length + rest / 2)] }
      return (0..<count).map { Place(text: text, end: length + rest * $0 / (count - 1)) }
    }
  }

  private static func leastTaken(_ taken: [Int], _ room: [Int]) -> Int? {
    taken.indices.filter { taken[$0] < room[$0] }.min { (taken[$0], $0) < (taken[$1], $1) }
  }
}

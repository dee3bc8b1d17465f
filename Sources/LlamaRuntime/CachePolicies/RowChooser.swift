/// Chooses the rows that stay, for each layer and key-value head, when a prompt or a token has been read in a layer.
///
/// Within a prompt every token sees every one before it. What goes is not read again.
protocol RowChooser: AnyObject {
  /// Rows of a head that stay at most; nil without a limit.
  var rowLimit: Int? { get }

  /// How many of the last queries of a prompt have their weights added up.
  func weighedQueries(ofPrompt count: Int) -> Int

  /// Whether the weights of a query that is read alone are.
  var weighsSingleTokens: Bool { get }

  /// Called before tokens are read.
  func willRead(_ tokens: some Collection<Int32>)

  /// Takes in what attention the queries gave the rows of a head: those that were weighed, of all heads of the group.
  /// - Parameters:
  ///   - weights: (rows).
  ///   - rows: with those of the queries, the last ones.
  func add(_ weights: Span<Float>, to rows: inout RowList, layer: Int, head: Int)

  /// Chooses among the rows of a head, after `add` was called for all heads of the layer, if at all.
  /// - Parameters:
  ///   - step: what has been read.
  ///   - dropped: empty; gets the numbers of the rows that go, ascending.
  func choose(
    among rows: inout RowList, layer: Int, head: Int, after step: ChoiceStep, dropping dropped: inout [Int])
}

extension RowChooser {
  func willRead(_ tokens: some Collection<Int32>) {}
}

/// What has been read in a layer before rows are chosen.
struct ChoiceStep {
  /// Tokens of the text so far.
  var textCount: Int
  /// Tokens of the prompt that has been read, or 1.
  var count: Int

  /// Whether a prompt has been read, not a single token.
  var isPrompt: Bool { count > 1 }
  /// The position of the latest token.
  var latest: Int { textCount - 1 }
}

/// The rows of a head in memory, in the order in which they lie there.
struct RowList {
  /// Of their tokens in the text.
  private(set) var positions: [Int32] = []
  /// What a chooser adds up.
  var scores: [Float] = []

  var count: Int { positions.count }

  mutating func append(_ new: Range<Int>) {
    for position in new {
      positions.append(Int32(position))
      scores.append(0)
    }
  }

  /// Removes rows; the last ones take their places.
  /// - Parameters:
  ///   - dropped: ascending.
  ///   - move: called with the number of a row that stays and the one that it gets.
  mutating func remove(_ dropped: [Int], move: (_ from: Int, _ to: Int) -> Void) {
    let kept = count - dropped.count
    var from = kept
    var next = dropped.firstIndex { $0 >= kept } ?? dropped.count
    for hole in dropped {
      guard hole < kept else { break }
      while next < dropped.count, dropped[next] == from {
        next += 1
        from += 1
      }
      move(from, hole)
      positions[hole] = positions[from]
      scores[hole] = scores[from]
      from += 1
    }
    positions.removeLast(count - kept)
    scores.removeLast(scores.count - kept)
  }

  /// Adds weights to the scores.
  mutating func add(_ weights: Span<Float>) {
    for row in scores.indices { scores[row] += weights[row] }
  }

  /// The numbers of the rows in the order of their tokens.
  var inOrder: [Int] { positions.indices.sorted { positions[$0] < positions[$1] } }

  /// Appends the candidates of the lowest scores, ascending by number: of equal ones those of the latest tokens.
  /// - Parameters:
  ///   - number: as many as there are, or fewer.
  ///   - score: of a row.
  func appendLowest(
    _ number: Int, score: (Int) -> Float, among isCandidate: (Int) -> Bool, to dropped: inout [Int]
  ) {
    func goesBefore(_ a: Int, _ b: Int) -> Bool {
      let (first, second) = (score(a), score(b))
      return first < second || first == second && positions[a] > positions[b]
    }
    guard number > 0 else { return }
    // One token at a time, one row goes: that takes no memory.
    guard number > 1 else {
      var lowest: Int?
      for row in positions.indices where isCandidate(row) {
        if let known = lowest, !goesBefore(row, known) { continue }
        lowest = row
      }
      if let lowest { dropped.append(lowest) }
      return
    }
    dropped += positions.indices.filter(isCandidate).sorted(by: goesBefore).prefix(number).sorted()
  }
}

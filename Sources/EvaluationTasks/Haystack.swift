import SeededRandom
public import Tokenization

/// Texts in which things are hidden, as tokens.
public struct Haystack: Sendable {
  private let documents: [[Int32]]
  /// The published noise starts with its first sentence.
  private let startsAnywhere: Bool

  /// - Parameter documents: tokens of texts; the published noise if there are none.
  public init(_ documents: [[Int32]], tokenizer: Tokenizer) {
    let documents = documents.filter { !$0.isEmpty }
    startsAnywhere = !documents.isEmpty
    self.documents = startsAnywhere ? documents : [tokenizer.encodeContinuation(" " + TaskWords.noise)]
  }

  /// A stretch of one of the documents that are long enough; if there is none, one is repeated.
  func stretch(_ count: Int, _ generator: inout SplitMix64) -> [Int32] {
    let long = documents.filter { $0.count >= count }
    if startsAnywhere, !long.isEmpty {
      let document = long[generator.next(below: long.count)]
      let start = generator.next(below: document.count - count + 1)
      return Array(document[start..<start + count])
    }
    let document = documents[generator.next(below: documents.count)]
    return (0..<count).map { document[$0 % document.count] }
  }
}

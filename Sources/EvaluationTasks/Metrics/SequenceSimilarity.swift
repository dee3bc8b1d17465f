/// How alike two texts are by their matching blocks: twice the matched characters over all characters.
///
/// What `fuzzywuzzy.fuzz.ratio` computes with Python's `difflib`, which LongBench calls for code: the longest block that
/// both have, then the same on both sides of it; characters that are more than a hundredth of a reference of 200
/// characters or more start no block.
/// Source: J. Ratcliff, D. Metzener, Pattern Matching: the Gestalt Approach, Dr. Dobb's Journal, July 1988.
public enum SequenceSimilarity {
  /// Whole percents, halves to the even one. 0 when a text is empty, unless both are the same.
  public static func percent(_ prediction: String, _ reference: String) -> Int {
    let (a, b) = (Array(prediction.unicodeScalars), Array(reference.unicodeScalars))
    if a == b { return 100 }
    guard !a.isEmpty, !b.isEmpty else { return 0 }
    let ratio = 2 * Double(matchedCount(a, b)) / Double(a.count + b.count)
    return Int((100 * ratio).rounded(.toNearestOrEven))
  }

  private static func matchedCount(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
    var places: [Unicode.Scalar: [Int]] = [:]
    for (place, scalar) in b.enumerated() { places[scalar, default: []].append(place) }
    if b.count >= 200 {
      for (scalar, found) in places where found.count > b.count / 100 + 1 { places[scalar] = nil }
    }
    var matched = 0
    var open = [(a.indices, b.indices)]
    while let (inA, inB) = open.popLast() {
      let (startA, startB, count) = longestBlock(a, b, places, inA, inB)
      guard count > 0 else { continue }
      matched += count
      open.append((inA.lowerBound..<startA, inB.lowerBound..<startB))
      open.append((startA + count..<inA.upperBound, startB + count..<inB.upperBound))
    }
    return matched
  }

  /// The longest block; of equals the first in `a`, then in `b`.
  private static func longestBlock(
    _ a: [Unicode.Scalar], _ b: [Unicode.Scalar], _ places: [Unicode.Scalar: [Int]], _ inA: Range<Int>,
    _ inB: Range<Int>
  ) -> (startA: Int, startB: Int, count: Int) {
    var best = (startA: inA.lowerBound, startB: inB.lowerBound, count: 0)
    var lengths: [Int: Int] = [:]
    for i in inA {
      var next: [Int: Int] = [:]
      for j in places[a[i], default: []] where inB.contains(j) {
        let count = (lengths[j - 1] ?? 0) + 1
        next[j] = count
        if count > best.count { best = (i - count + 1, j - count + 1, count) }
      }
      lengths = next
    }
    // Frequent characters start no block but extend one.
    while best.startA > inA.lowerBound, best.startB > inB.lowerBound, a[best.startA - 1] == b[best.startB - 1] {
      best = (best.startA - 1, best.startB - 1, best.count + 1)
    }
    while best.startA + best.count < inA.upperBound, best.startB + best.count < inB.upperBound,
      a[best.startA + best.count] == b[best.startB + best.count]
    {
      best.count += 1
    }
    return best
  }
}

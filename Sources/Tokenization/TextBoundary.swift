/// How well a text can be cut between two tokens.
public enum TextBoundary: Int, Comparable, Sendable {
  /// Within a word or a number, as far as tokens show.
  case none
  /// Before a word.
  case word
  /// After a sentence or a line.
  case sentence

  public static func < (first: TextBoundary, second: TextBoundary) -> Bool { first.rawValue < second.rawValue }
}

extension Tokenizer {
  /// How well a text can be cut between two tokens that follow each other in it. Decided by these two alone, so a full
  /// stop after an abbreviation counts, and one before a quotation mark that is a token of its own does not.
  public func boundary(between previous: Int32, and next: Int32) -> TextBoundary {
    guard let before = piece(previous), let after = piece(next) else { return .none }
    if before.last == 0x0A || Self.wideStops.contains(where: before.ends) { return .sentence }
    guard after.first.map({ $0 == 0x20 || (0x09...0x0D).contains($0) }) == true || after.starts(with: spaceMark) else {
      return .none
    }
    var said = before[...]
    while let closing = Self.closings.first(where: said.ends) { said.removeLast(closing.count) }
    return Self.stops.contains(where: said.ends) ? .sentence : .word
  }

  private static let stops = [".", "!", "?", "…"].map { Array($0.utf8) }
  /// No space follows these.
  private static let wideStops = ["。", "！", "？"].map { Array($0.utf8) }
  private static let closings = ["\"", "'", ")", "]", "”", "’", "»"].map { Array($0.utf8) }
}

extension BidirectionalCollection<UInt8> {
  fileprivate func ends(with end: [UInt8]) -> Bool { suffix(end.count).elementsEqual(end) }
}

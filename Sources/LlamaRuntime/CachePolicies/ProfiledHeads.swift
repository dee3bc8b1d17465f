/// FastGen: see `CachePolicy.fastGen`.
final class ProfiledHeads: RowChooser {
  /// What stays of a head, by increasing cost. Each has what the one before it has.
  enum Profile: Int, CaseIterable {
    case special, punctuation, frequent, recent, all
  }

  private let recovery: Double
  private let recent: Double
  private let frequent: Double
  private let window: Int
  private let kinds: TokenKinds
  /// Whether a token of the text is special, or punctuation.
  private var tokens: [Kind] = []
  private let kvHeadCount: Int
  /// (layer, kv head); nil before the first prompt's end.
  private(set) var profiles: [Profile?]

  private enum Kind: UInt8 {
    case text, special, punctuation
  }

  init(
    recovery: Double, recent: Double, frequent: Double, window: Int, kinds: TokenKinds, layerCount: Int,
    kvHeadCount: Int
  ) {
    precondition(window > 0, "some queries are looked at")
    (self.recovery, self.recent, self.frequent, self.window) = (recovery, recent, frequent, window)
    (self.kinds, self.kvHeadCount) = (kinds, kvHeadCount)
    profiles = [Profile?](repeating: nil, count: layerCount * kvHeadCount)
  }

  var rowLimit: Int? { nil }

  func weighedQueries(ofPrompt count: Int) -> Int { min(window, count) }

  var weighsSingleTokens: Bool { true }

  func willRead(_ tokens: some Collection<Int32>) {
    for token in tokens {
      self.tokens.append(
        kinds.special.contains(token) ? .special : kinds.punctuation.contains(token) ? .punctuation : .text)
    }
  }

  func add(_ weights: Span<Float>, to rows: inout RowList, layer: Int, head: Int) { rows.add(weights) }

  func choose(
    among rows: inout RowList, layer: Int, head: Int, after step: ChoiceStep, dropping dropped: inout [Int]
  ) {
    let index = layer * kvHeadCount + head
    if let profile = profiles[index] {
      drop(of: rows, profile, textCount: step.textCount, &dropped)
    } else if step.isPrompt {
      let all = rows.scores.reduce(0) { $0 + Double($1) }
      for profile in Profile.allCases {
        dropped.removeAll()
        drop(of: rows, profile, textCount: step.textCount, &dropped)
        let lost = dropped.reduce(0) { $0 + Double(rows.scores[$1]) }
        profiles[index] = profile
        if all - lost >= recovery * all { break }
      }
    }
  }

  private func drop(of rows: RowList, _ profile: Profile, textCount: Int, _ dropped: inout [Int]) {
    func share(_ part: Double) -> Int { Int((part * Double(textCount)).rounded(.up)) }
    guard profile != .all else { return }
    let firstRecent = profile.rawValue >= Profile.recent.rawValue ? textCount - share(recent) : textCount
    let keepsPunctuation = profile.rawValue >= Profile.punctuation.rawValue
    func isFree(_ row: Int) -> Bool {
      let position = Int(rows.positions[row])
      guard position < firstRecent else { return false }
      return switch tokens[position] {
      case .special: false
      case .punctuation: !keepsPunctuation
      case .text: true
      }
    }
    let free = rows.positions.indices.reduce(0) { $0 + (isFree($1) ? 1 : 0) }
    let frequent = profile.rawValue >= Profile.frequent.rawValue ? share(frequent) : 0
    rows.appendLowest(free - frequent, score: { rows.scores[$0] }, among: isFree, to: &dropped)
  }
}

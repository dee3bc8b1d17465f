/// RULER: thirteen tasks of retrieval, tracing and aggregation whose contexts are made to a length.
///
/// Source: C.-P. Hsieh et al., RULER, arXiv 2404.06654; its configuration, answer lengths and scores. Words, prompts and
/// haystacks are ours, so scores compare with each other, not with published ones.
public enum Ruler {
  public enum Task: String, Sendable, CaseIterable {
    case single1 = "niah_single_1"
    case single2 = "niah_single_2"
    case single3 = "niah_single_3"
    case multiKey1 = "niah_multikey_1"
    case multiKey2 = "niah_multikey_2"
    case multiKey3 = "niah_multikey_3"
    case multiValue = "niah_multivalue"
    case multiQuery = "niah_multiquery"
    case variableTracking = "vt"
    case commonWords = "cwe"
    case frequentWords = "fwe"
    case squad = "qa_1"
    case hotpot = "qa_2"

    public var maxNewTokens: Int {
      switch self {
      case .variableTracking: 30
      case .commonWords: 120
      case .frequentWords: 50
      case .squad, .hotpot: 32
      default: 128
      }
    }

    /// What a needle task hides and asks for; nil for other tasks.
    var needles: NeedleConfiguration? {
      switch self {
      case .single1: NeedleConfiguration(haystack: .noise)
      case .single2: NeedleConfiguration()
      case .single3: NeedleConfiguration(value: .identifiers)
      case .multiKey1: NeedleConfiguration(keyCount: 4)
      case .multiKey2: NeedleConfiguration(haystack: .needles)
      case .multiKey3: NeedleConfiguration(haystack: .needles, key: .identifiers, value: .identifiers)
      case .multiValue: NeedleConfiguration(valueCount: 4)
      case .multiQuery: NeedleConfiguration(keyCount: 4, queryCount: 4)
      default: nil
      }
    }
  }

  struct NeedleConfiguration {
    enum Haystack { case noise, essay, needles }
    enum Kind { case words, numbers, identifiers }

    var haystack = Haystack.essay
    var key = Kind.words
    var value = Kind.numbers
    var keyCount = 1
    var valueCount = 1
    var queryCount = 1
  }

  /// The average in percent from which a length counts as mastered: LLaMA-2-7B-chat's at 4 thousand tokens.
  public static let effectiveThreshold = 85.6
}

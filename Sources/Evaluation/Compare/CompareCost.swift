import LlamaRuntime
import SharedPack

/// How long cells take: foretold from what reading takes on this machine, and set right by the cells that are done.
struct CompareCost {
  /// Seconds for each token of a text.
  private let ofToken: Double
  /// Seconds for each token and each that it sees.
  private let ofPair: Double
  /// Seconds for a token that is read alone.
  private let ofStep: Double
  private let texts: ComparedTexts
  /// Seconds that were foretold and seconds that it took, by method.
  private var known: [String: (foretold: Double, taken: Double)] = [:]

  /// Reads one window and, if texts are longer, two.
  init(_ model: LanguageModel, _ texts: ComparedTexts) {
    self.texts = texts
    let tokens = Array((texts.documents.first ?? []).prefix(2 * texts.window))
    let session = Session(model.runtime, capacity: tokens.count + 8)
    // The first pass reads the pack into memory, which counts in no cell.
    Session(model.runtime, capacity: 8).skim(Array(tokens.prefix(8)))
    func seconds(_ body: () -> Void) -> Double {
      let start = ContinuousClock.now
      body()
      return (ContinuousClock.now - start).seconds
    }
    let window = Double(texts.window)
    let first = seconds { session.skim(Array(tokens.prefix(texts.window))) } / window
    let rest = tokens.dropFirst(texts.window)
    let second = rest.isEmpty ? first : seconds { session.skim(Array(rest)) } / Double(rest.count)
    // A token of the second window sees one window more.
    ofPair = max(second - first, 0) / window
    ofToken = max(first - ofPair * window / 2, first / 2)
    var logits: [Float] = []
    ofStep = seconds { for token in tokens.prefix(8) { session.read(token, into: &logits) } } / 8
  }

  /// Seconds that a cell will take.
  func seconds(_ method: ComparedMethod, windows: Int, rows: Int) -> Double {
    let foretold = foretold(method, windows: windows, rows: rows)
    if let own = known[method.name], own.foretold > 0 { return foretold * own.taken / own.foretold }
    let all = known.values.reduce((0, 0)) { ($0.0 + $1.foretold, $0.1 + $1.taken) }
    return all.0 > 0 ? foretold * all.1 / all.0 : foretold
  }

  /// Takes note of a cell that is done.
  mutating func learn(_ method: ComparedMethod, windows: Int, rows: Int, seconds: Double) {
    let foretold = foretold(method, windows: windows, rows: rows)
    let before = known[method.name] ?? (0, 0)
    known[method.name] = (before.foretold + foretold, before.taken + seconds)
  }

  private func foretold(_ method: ComparedMethod, windows: Int, rows: Int) -> Double {
    let options = texts.options
    let asked = Double(options.sampleCount * ComparedTask.allCases.count)
    let steps = Double(texts.documents.count * ComparedTexts.timedCount) + asked * 12
    var reads = Double(texts.documents.count) + asked
    if case .trees = method.way { reads += Double(options.sampleCount) }
    let length = Double(windows * texts.window)
    let (tokens, seen): (Double, Double) =
      switch method.way {
      case .policy(.streaming), .policy(.lmInfinite), .policy(.infLLM): (length, Double(rows))
      case .policy: (length, length / 2)
      // The window holds it.
      case .positions where windows == 1: (0, 0)
      case .positions: (length, length / 2)
      case .truncated, .deep: (min(length, Double(rows)), Double(rows) / 2)
      // The lower layers read it, chunk by chunk.
      case .trees: (length / 2, Double(rows))
      }
    let scored = Double(texts.documents.count * options.scored) * (ofToken + ofPair * seen)
    return reads * tokens * (ofToken + ofPair * seen) + scored + steps * (ofStep + ofPair * seen)
  }
}

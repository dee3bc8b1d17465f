/// The scores of a benchmark, task by task.
struct BenchmarkScores: Sendable {
  private struct Row: Sendable {
    var labels: [String: Label]
    var scores: [Double] = []
    var promptTokens: [Double] = []
  }
  private var rows: [Row] = []
  private var limited: Set<String> = []
  private var contextless = 0

  /// - Parameter labels: what tells the sample's row from others, beside the method.
  mutating func add(_ answers: [BenchmarkEvaluation.Answer], labels: [String: Label]) {
    for answer in answers {
      add(
        answer.score, promptTokens: answer.promptTokens, labels: labels.merging(answer.method.labels) { $1 })
      if let limit = answer.answerLimit, case .text(let task)? = labels["task"] { limited.insert("\(task): \(limit)") }
      if answer.method.policyName != nil, answer.contextChunks == 0 { contextless += 1 }
    }
  }

  /// - Parameter score: 0 to 1.
  mutating func add(_ score: Double, promptTokens: Int? = nil, labels: [String: Label]) {
    let place = rows.firstIndex { $0.labels == labels } ?? rows.count
    if place == rows.count { rows.append(Row(labels: labels)) }
    rows[place].scores.append(100 * score)
    if let promptTokens { rows[place].promptTokens.append(Double(promptTokens)) }
  }

  /// Means over rows that agree in all but one label, such as the average of a group's tasks.
  /// - Parameters:
  ///   - label: the label that is averaged over.
  ///   - name: what stands for it; nil leaves a row out.
  func averages(over label: String, _ name: (EvaluationResult.Row) -> String?) -> [EvaluationResult.Row] {
    var groups: [(labels: [String: Label], values: [Double])] = []
    for row in resultRows() {
      guard let name = name(row), let value = row.measures["score"]?.value else { continue }
      var labels = row.labels
      labels[label] = .text(name)
      if let place = groups.firstIndex(where: { $0.labels == labels }) {
        groups[place].values.append(value)
      } else {
        groups.append((labels, [value]))
      }
    }
    return groups.map {
      EvaluationResult.Row(
        labels: $0.labels,
        measures: ["score": Measure($0.values.reduce(0, +) / Double($0.values.count), count: $0.values.count)])
    }
  }

  /// A row for every task and method: `score` in percent with its interval, and, where there were prompts, `prompt`,
  /// their tokens.
  func resultRows() -> [EvaluationResult.Row] {
    let bootstrap = Bootstrap()
    return rows.map { row in
      var measures = ["score": bootstrap.mean(of: row.scores)]
      if !row.promptTokens.isEmpty {
        measures["prompt"] = Measure(row.promptTokens.reduce(0, +) / Double(row.promptTokens.count))
      }
      return EvaluationResult.Row(labels: row.labels, measures: measures)
    }
  }

  var isEmpty: Bool { rows.isEmpty }

  /// What a reader must know.
  var notes: [String] {
    var notes: [String] = []
    if !limited.isEmpty {
      notes.append(
        "the window leaves fewer tokens for answers than the benchmark allows: "
          + limited.sorted().joined(separator: ", ")
      )
    }
    if contextless > 0 { notes.append("\(contextless) prompts fitted the window and had no context") }
    return notes
  }
}

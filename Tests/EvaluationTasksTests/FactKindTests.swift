import Testing

@testable import EvaluationTasks

@Suite struct FactKindTests {
  /// An answer that names a value of one kind is not right by chance for another, nor by the name of the person.
  @Test func valuesAreOfOneKind() {
    let values = FactKind.all.flatMap(\.values)
    #expect(Set(values.map { $0.lowercased() }).count == values.count)
    #expect(values.allSatisfy { !$0.contains(" ") })
    #expect(Set(FactKind.all.map(\.label)).count == FactKind.all.count && FactKind.all.count >= 8)
  }

  @Test(arguments: FactKind.all.map(\.label))
  func sentencesNameBoth(_ label: String) throws {
    let kind = try #require(FactKind.all.first { $0.label == label })
    for statement in [kind.statement, kind.change] {
      #expect(statement.contains("{name}") && statement.contains("{value}") && statement.hasSuffix("."))
    }
    #expect(kind.question.contains("{name}") && !kind.question.contains("{value}") && kind.question.hasSuffix("?"))
    let fact = Fact(kind: kind, name: "Miss Vane", values: ["one", "two"])
    #expect(fact.statement.contains("Miss Vane") && fact.statement.contains("one") && !fact.statement.contains("{"))
    #expect(fact.change.contains("two") && !fact.change.contains("one"))
    #expect(kind.values.count > 1)
  }
}

import ArgumentParser

/// A named value of the library, as an argument.
package struct NameArgument<Value: RawRepresentable<String> & CaseIterable & Hashable & Sendable>:
  ExpressibleByArgument, Hashable
{
  package let value: Value

  package init(_ value: Value) { self.value = value }

  package init?(argument: String) {
    guard let value = Value(rawValue: argument) else { return nil }
    self.value = value
  }

  package var defaultValueDescription: String { value.rawValue }

  package static var allValueStrings: [String] { Value.allCases.map(\.rawValue) }
}

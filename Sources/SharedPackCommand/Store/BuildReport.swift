import ArgumentParser
import CanonicalJSON
import FileAccess
import SharedPack

/// What a build has done, and what it says of that.
struct BuildReport {
  private let isJSON: Bool
  private let encoding: TextEncodingArguments
  /// For JSON only.
  private var documents: [JSONValue] = []
  private var failures: [JSONValue] = []
  private var skipped: [JSONValue] = []
  private(set) var documentCount = 0
  private var encodedTokenCount = 0
  private var failureCount = 0
  private var firstFault: Refusal?

  init(_ output: OutputOptions, _ encoding: TextEncodingArguments) {
    isJSON = output.json
    self.encoding = encoding
  }

  /// A text that is stored.
  mutating func add(_ report: StoreBuilder.Report) {
    for name in report.evicted { Console.error("sharedpack: removed \"\(name)\" to make room") }
    documentCount += 1
    encodedTokenCount += report.encodedTokenCount
    if isJSON {
      documents.append(
        .members([
          "name": .string(report.name), "outcome": .string(report.outcome.rawValue),
          "tokens": .integer(report.tokenCount), "chunks": .integer(report.chunkCount),
          "encoded_tokens": .integer(report.encodedTokenCount),
          "evicted": .array(report.evicted.map(JSONValue.string)),
        ]))
    } else {
      Console.output(
        "\(report.outcome.rawValue)\t\(report.name)\t\(Format.count(report.tokenCount, "token"))\t"
          + "\(Format.count(report.chunkCount, "chunk"))\t\(report.encodedTokenCount) tokens encoded")
    }
  }

  /// A text that is left out.
  mutating func add(_ fault: Refusal) {
    let fault = encoding.explained(fault)
    failureCount += 1
    if firstFault == nil { firstFault = fault }
    Console.error("sharedpack: \(fault.message)")
    if isJSON {
      failures.append(
        .members([
          "path": .string(fault.file), "fault": .string(fault.message), "code": .string(fault.name.text),
        ]))
    }
  }

  /// What is no text among the files.
  mutating func add(_ all: [DocumentSearch.Skipped]) {
    var (stores, packs) = (0, 0)
    for each in all {
      let reason: String
      switch each.reason {
      case .pipe: reason = "a pipe"
      case .socket: reason = "a socket"
      case .device: reason = "a device"
      case .repeated(let path): reason = "the folder \(path) again"
      case .store:
        reason = "a store"
        stores += 1
      case .modelPack:
        reason = "a model pack"
        packs += 1
      }
      if each.reason != .store, each.reason != .modelPack {
        Console.error("sharedpack: \(each.path): not read: is \(reason)")
      }
      if isJSON { skipped.append(.members(["path": .string(each.path), "reason": .string("is \(reason)")])) }
    }
    let parts = [
      stores == 0 ? nil : Format.count(stores, "store"), packs == 0 ? nil : Format.count(packs, "model pack"),
    ]
    if stores + packs > 0 {
      Console.error("sharedpack: not read: \(parts.compactMap(\.self).joined(separator: " and "))")
    }
  }

  /// The last words, and the exit status of the first fault.
  /// - Parameter facts: members for programs that come first; nil where something else is printed.
  func finish(_ facts: KeyValuePairs<String, JSONValue?>?) throws {
    if isJSON, let facts, case .object(let members) = JSONValue.members(facts) {
      Console.output(
        .object(
          members + [
            JSONValue.Member("encoded_tokens", .integer(encodedTokenCount)),
            JSONValue.Member("documents", .array(documents)), JSONValue.Member("failures", .array(failures)),
            JSONValue.Member("skipped", .array(skipped)),
          ]))
    }
    let all = documentCount + failureCount
    if failureCount > 0, all > 1 {
      Console.error("sharedpack: \(failureCount) of \(all) texts \(failureCount == 1 ? "was" : "were") left out")
    }
    if let firstFault { throw ExitCode(firstFault.name.exitStatus.rawValue) }
  }
}

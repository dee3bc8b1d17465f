import ContextTrees
import FaultInjection
import FileAccess
import Glibc
import Testing

@testable import TreeStore

/// Whatever call to the file system fails, before or after its work, once or from then on: the error is typed, what was
/// acknowledged is there, the rest is there whole or not at all, and doing it again works.
@Suite struct FaultTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let fault: FileFault
    let name: String
    let isPersistent: Bool
    let kind: StoreWork.Kind

    var testDescription: String { "\(kind): \(fault)\(isPersistent ? ", from then on" : "")" }
  }

  static let cases = StoreWork.Kind.allCases.flatMap { kind in
    [false, true].flatMap { isPersistent in
      [
        Case(fault: .before(EIO), name: "input-output", isPersistent: isPersistent, kind: kind),
        Case(fault: .after(EIO), name: "input-output", isPersistent: isPersistent, kind: kind),
        Case(fault: .before(ENOSPC), name: "no-space", isPersistent: isPersistent, kind: kind),
      ]
    }
  }

  @Test(arguments: cases) func everyCallFails(_ test: Case) throws {
    var number = 0
    var leftovers = 0
    while true {
      let workplace = try Workplace.inMemory()
      let start = try StoreWork.prepare(test.kind, workplace.store)
      let faults = FaultSchedule(test.fault, at: number, persistently: test.isPersistent)
      var expected = start
      let error = FileOperation.withProbe(faults) {
        refusal { () throws(Refusal) in try StoreWork.run(test.kind, workplace.store, from: start) { expected = $0 } }
      }
      if faults.faultCount == 0 { break }
      let operation = faults.operations[number]
      #expect([nil, "cannot-create", "writer-failed", test.name].contains(error), "\(operation)")
      // Only what frees space, and what is tried again, may fail without a word.
      if error == nil {
        switch operation {
        case .remove, .list: break
        // Segments that cannot be read stay as they are.
        case .open, .map,
          .read where test.kind != .building:
          break
        default: Issue.record("\(operation) failed, and nobody was told")
        }
      }
      #expect(StoreWork.fault(workplace.store, expected) == nil, "\(operation)")

      // A process that lives removes its partial files, unless that is what fails.
      let partial = try StoreWork.partialFiles(workplace.store)
      leftovers += partial.count
      if !test.isPersistent, case .remove = operation {} else if !test.isPersistent { #expect(partial.isEmpty) }
      try StoreWork.run(test.kind, workplace.store, from: expected) { expected = $0 }
      #expect(StoreWork.fault(workplace.store, expected) == nil, "\(operation)")
      if test.kind == .building { #expect(expected == ["a": [StoreWork.second], "b": [nil]]) }
      #expect(expected.values.allSatisfy { $0.count == 1 })
      #expect(try StoreWork.partialFiles(workplace.store).isEmpty, "\(operation)")
      number += 1
    }
    #expect(number > (test.kind == .building ? 80 : 40), "\(number) calls")
    // Removals that fail for good, as in a process that was killed, leave something for the next writer to remove.
    if test.isPersistent, case .before = test.fault { #expect(leftovers > (test.kind == .building ? 20 : 3)) }
  }

  /// Calls that end early are continued, without any visible effect.
  @Test func everyCallIsShort() throws {
    let workplace = try Workplace.inMemory()
    let faults = FaultSchedule(.short(7), persistently: true)
    var expected = StoreWork.nothing
    try FileOperation.withProbe(faults) { () throws(Refusal) in
      try StoreWork.run(workplace.store) { expected = $0 }
      #expect(StoreWork.fault(workplace.store, expected) == nil)
    }
    #expect(faults.operations.count > 1_000)
  }

  /// A writer that failed refuses to go on, whatever is asked of it.
  @Test func failedWriterEnds() throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    let tokens = StoreWork.chunks
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    try writer.add(document: "a", [tokens[0]])
    let name = FileOperation.withProbe(FaultSchedule(.before(EIO))) {
      refusal { () throws(Refusal) in try writer.commit() }
    }
    #expect(name == "input-output")
    let chunk = Fixture.chunk(tokens[1], configuration)
    #expect(refusal { () throws(Refusal) in try writer.commit() } == "writer-failed")
    #expect(refusal { () throws(Refusal) in _ = try writer.add(chunk, compression: .none) } == "writer-failed")
    #expect(refusal { () throws(Refusal) in try writer.removeDocument(named: "a") } == "writer-failed")
    #expect(refusal { () throws(Refusal) in _ = try writer.collectGarbage() } == "writer-failed")
    #expect(try TreeStore(opening: workplace.store).documents().isEmpty)
  }

  /// A reader whose generation is removed between its manifest and its segments takes the newest one.
  @Test func readerRetries() throws {
    let workplace = try Workplace()
    let path = workplace.store
    do {
      var writer = try TreeStoreWriter(opening: path, creating: try Fixture.configuration())
      try writer.add(document: "a", [StoreWork.chunks[0]])
      try writer.commit()
    }
    let probe = FirstSegment { () throws(Refusal) in
      var writer = try TreeStoreWriter(opening: path, creating: nil)
      try writer.add(document: "b", [Fixture.tokens(9)])
      try writer.removeDocument(named: "a")
      _ = try writer.collectGarbage()
    }
    let store = try FileOperation.withProbe(probe) { () throws(Refusal) in try TreeStore(opening: path) }
    #expect(probe.calls.operations.count == 1)
    #expect(store.generation == 4)
    #expect(try store.documents().map(\.name) == ["b"])
  }
}

/// Does something once, when the first segment is about to be opened.
private final class FirstSegment: FileProbe {
  let calls = FaultSchedule()
  private let body: @Sendable () throws(Refusal) -> Void

  init(_ body: @escaping @Sendable () throws(Refusal) -> Void) { self.body = body }

  func fault(in operation: FileOperation) -> FileFault? {
    guard case .open(let path) = operation, path.hasSuffix(".seg"), calls.operations.isEmpty else { return nil }
    _ = calls.fault(in: operation)
    let error = FileOperation.withProbe(nil) { refusal(body) }
    #expect(error == nil)
    return nil
  }

  func happened(_ operation: FileOperation, written: RawSpan) {}
}

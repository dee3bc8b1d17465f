import FaultInjection
import FileAccess
import Glibc
import Testing

@testable import TreeStore

/// Power cuts at every point of a store's life, and after a process that was killed: what is left opens, is whole, has
/// what was acknowledged and can be written to, whatever part of the unsynchronized changes is lost.
@Suite struct CrashTests {
  /// What may be seen from a point of a journal on.
  private typealias Milestones = [(point: Int, expected: StoreWork.Expectation)]

  private static func expected(_ milestones: Milestones, at point: Int) -> StoreWork.Expectation {
    milestones.last { $0.point <= point }?.expected ?? StoreWork.nothing
  }

  /// What is left of the changes that are not durable: nothing, all, and some of some.
  private static func survivors(seeds: Int) -> [(Int) -> CrashModel.Remains] {
    [{ _ in .nothing }, { _ in .all }]
      + (0..<seeds).map { seed in
        { number in
          let mixed = UInt64(seed + 1) &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(number) &* 0xD6E8_FEB8_6659_FD93
          let bits = (mixed ^ mixed >> 31) &* 0xBF58_476D_1CE4_E5B9
          guard bits >> 62 > UInt64(seed % 3) else { return .nothing }
          // Torn writes and files of zeros are in every second one.
          guard seed % 2 == 1 else { return .all }
          let which = (bits ^ bits >> 27) &* 0x94D0_49BB_1331_11EB
          return switch bits >> 59 & 3 {
          case 0: .sectors(byteCount: 512, which: which)
          case 1: .sectors(byteCount: 4096, which: which)
          case 2: .zeros
          default: .all
          }
        }
      }
  }

  private struct State: Hashable {
    let contents: CrashModel.Contents
    let expected: StoreWork.Expectation
  }

  /// Cuts the power after each of the points.
  /// - Parameter goesOn: the work that is done again on what is left.
  /// - Returns: the number of different states that were looked at.
  private static func cut(
    _ journal: FileJournal, root: String, points: some Sequence<Int>, seeds: Int, milestones: Milestones,
    goesOn kind: StoreWork.Kind? = nil
  ) throws -> Int {
    let model = CrashModel(journal, root: root)
    var seen: Set<State> = []
    for point in points {
      let expected = expected(milestones, at: point)
      for (number, survives) in survivors(seeds: seeds).enumerated() {
        let state = State(contents: model.contents(at: point, remains: survives), expected: expected)
        guard seen.insert(state).inserted else { continue }
        let workplace = try Workplace.inMemory()
        try CrashModel.write(state.contents, into: workplace.path)
        let fault = StoreWork.fault(workplace.store, expected)
        #expect(fault == nil, "point \(point), survivors \(number): \(state.contents.keys.sorted())")
        if fault != nil { return seen.count }
        guard let kind else { continue }
        var next = expected
        try StoreWork.run(kind, workplace.store, from: expected) { next = $0 }
        #expect(StoreWork.fault(workplace.store, next) == nil, "point \(point), survivors \(number)")
      }
    }
    return seen.count
  }

  @Test(arguments: StoreWork.Kind.allCases) func everyPoint(of kind: StoreWork.Kind) throws {
    let workplace = try Workplace.inMemory()
    let (journal, start, milestones) = try Self.journal(of: kind, workplace)
    #expect(journal.count - start > 25)
    let count = try Self.cut(
      journal, root: workplace.path, points: start...journal.count, seeds: kind == .building ? 16 : 6,
      milestones: milestones, goesOn: kind)
    #expect(count > (kind == .building ? 80 : 50), "\(count) states")
  }

  /// The same with many more of the states that a power cut may leave, each looked at once.
  @Test(
    .enabled(if: unsafe getenv("SHAREDPACK_EXHAUSTIVE") != nil, "SHAREDPACK_EXHAUSTIVE is not set"),
    arguments: StoreWork.Kind.allCases)
  func manyStates(of kind: StoreWork.Kind) throws {
    let workplace = try Workplace.inMemory()
    let (journal, start, milestones) = try Self.journal(of: kind, workplace)
    let points = start...journal.count
    let count = try Self.cut(journal, root: workplace.path, points: points, seeds: 4_000, milestones: milestones)
    // Most changes are durable at most points, so that many cuts leave the same.
    print("power cuts while \(kind): \(points.count * 4_002) at \(points.count) points, \(count) different states")
    #expect(points.count * 4_002 > 100_000 && count > (kind == .recovering ? 200 : 250))
  }

  /// - Returns: what the work did, the point at which it began, and what may be seen from then on.
  private static func journal(
    of kind: StoreWork.Kind, _ workplace: Workplace
  ) throws -> (FileJournal, start: Int, Milestones) {
    let journal = FileJournal()
    var milestones: Milestones = []
    let start = try FileOperation.withProbe(journal) { () throws(Refusal) in
      let before = try StoreWork.prepare(kind, workplace.store)
      let start = journal.count
      milestones.append((start, before))
      try StoreWork.run(kind, workplace.store, from: before) { milestones.append((journal.count, $0)) }
      return start
    }
    return (journal, start, milestones)
  }

  /// Every synchronization is needed: on a disk that ignores those of one directory, or those of files, a power cut
  /// does harm.
  @Test(arguments: ["", "/store", "/store/segments", nil]) func synchronizationsAreNeeded(of directory: String?) throws
  {
    let workplace = try Workplace.inMemory()
    let journal = FileJournal()
    var milestones: Milestones = []
    try FileOperation.withProbe(journal) { () throws(Refusal) in
      try StoreWork.run(workplace.store) { milestones.append((journal.count, $0)) }
    }
    let model = CrashModel(journal, root: workplace.path) { operation in
      switch operation {
      case .synchronize: directory == nil
      case .synchronizeDirectory(let path): directory.map { path == workplace.path + $0 } ?? false
      default: false
      }
    }
    let harm = try (0...journal.count).contains { point in
      let left = try Workplace.inMemory()
      try CrashModel.write(model.contents(at: point) { _ in false }, into: left.path)
      return StoreWork.fault(left.store, Self.expected(milestones, at: point)) != nil
    }
    #expect(harm)
  }

  /// A process is killed at any call, another one does the work, and the power goes when that has been acknowledged:
  /// what the second one found and built on must be durable as well.
  @Test(arguments: StoreWork.Kind.allCases) func killedBefore(_ kind: StoreWork.Kind) throws {
    try killed(kind) { (path, expected, note) throws(Refusal) in
      try StoreWork.run(kind, path, from: expected, note: note)
    }
  }

  /// The same with a second process that finds everything done, and collects garbage.
  @Test func killedBeforeCollection() throws {
    try killed(.building) { (path, expected, note) throws(Refusal) in
      var writer = try TreeStoreWriter(opening: path, creating: StoreWork.configuration())
      _ = try writer.collectGarbage()
      // What it found stays.
      let found = try StoreWork.documents(path)
      note(Dictionary(uniqueKeysWithValues: expected.keys.map { ($0, [found[$0]]) }))
    }
  }

  private func killed(
    _ kind: StoreWork.Kind,
    _ recover: (String, StoreWork.Expectation, (StoreWork.Expectation) -> Void) throws(Refusal) -> Void
  ) throws {
    var number = 0
    var count = 0
    while true {
      let workplace = try Workplace.inMemory()
      let before = FileJournal()
      var expected = try FileOperation.withProbe(before) { () throws(Refusal) in
        try StoreWork.prepare(kind, workplace.store)
      }
      let start = expected
      // From then on no call is made, as in a process that is gone.
      let faults = FaultSchedule(.before(EIO), at: number, persistently: true)
      let first = FileJournal(after: before, faults: faults)
      _ = FileOperation.withProbe(first) {
        refusal { () throws(Refusal) in try StoreWork.run(kind, workplace.store, from: start) { expected = $0 } }
      }
      if faults.faultCount == 0 { break }
      let second = FileJournal(after: first)
      var milestones: Milestones = [(0, expected)]
      try FileOperation.withProbe(second) { () throws(Refusal) in
        try recover(workplace.store, expected) { milestones.append((second.count, $0)) }
      }
      count += try Self.cut(
        second, root: workplace.path, points: first.count...second.count, seeds: 1, milestones: milestones)
      // Of work that reads much, every third call.
      number += kind == .building ? 1 : 3
    }
    #expect(number > 60 && count > 100, "\(number) calls, \(count) states")
  }
}

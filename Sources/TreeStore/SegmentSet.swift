internal import ContextTrees
internal import FileAccess

/// The segments of a generation, as far as they can be opened: one that is lost or damaged fails only those who need it.
struct SegmentSet: Sendable {
  /// A segment that a manifest names.
  struct Member: Sendable {
    let reference: SegmentReference
    /// Nil when it cannot be opened.
    let segment: Segment?
    /// Why not.
    let fault: Refusal?
  }

  private(set) var members: [Member] = []

  init() {}

  /// Opens what a manifest names.
  init(_ manifest: Manifest, in path: String) {
    for reference in manifest.segments {
      do throws(Refusal) {
        append(try Segment(reference, in: path, manifest.configuration), reference)
      } catch {
        members.append(Member(reference: reference, segment: nil, fault: error))
      }
    }
  }

  mutating func append(_ segment: Segment, _ reference: SegmentReference) {
    members.append(Member(reference: reference, segment: segment, fault: nil))
  }

  mutating func append(_ member: Member) { members.append(member) }

  /// Those that can be opened.
  var open: [Segment] { members.compactMap(\.segment) }

  var references: [SegmentReference] { members.map(\.reference) }

  /// Why a segment cannot be opened; nil when all can.
  var fault: Refusal? { members.lazy.compactMap(\.fault).first }

  /// Where a chunk lies: in more than one segment after damage was repaired.
  private func places(of key: ChunkKey) -> [(segment: Segment, index: Int)] {
    members.compactMap { member in
      guard let segment = member.segment, let index = segment.index.index(of: key) else { return nil }
      return (segment, index)
    }
  }

  /// - Returns: nil when no segment has the chunk.
  func tokenCount(of key: ChunkKey) -> Int? {
    places(of: key).first.map { $0.segment.index.entry(at: $0.index).tokenCount }
  }

  /// The records of a chunk whose heads can be read.
  /// - Returns: empty when no segment has it.
  /// - Throws: `Refusal` for a chunk that no readable segment has while one cannot be opened, or whose heads are all
  ///   damaged.
  func records(of key: ChunkKey) throws(Refusal) -> [StoredRecord] {
    var records: [StoredRecord] = []
    var failure = fault
    for (segment, index) in places(of: key) {
      do throws(Refusal) {
        records.append(try StoredRecord(in: segment, at: index))
      } catch {
        failure = error
      }
    }
    if records.isEmpty, let failure { throw failure }
    return records
  }

  /// A record of a chunk that can be read to its end.
  /// - Returns: nil when there is none.
  func wholeRecord(of key: ChunkKey) -> StoredRecord? {
    (try? records(of: key))?.first { $0.isWhole }
  }

  /// A chunk of a text.
  /// - Returns: nil when no segment has it, or the chunks are trees.
  func text(_ key: ChunkKey, _ configuration: TreeStoreConfiguration) throws(Refusal) -> StoredText? {
    guard let form = configuration.text else { return nil }
    let records = try records(of: key)
    return records.isEmpty ? nil : StoredText(records, form)
  }
}

extension StoredRecord {
  /// Whether every part of it can be read.
  var isWhole: Bool {
    do throws(Refusal) {
      _ = try search()
      for number in entries.indices { _ = try storedBlock(number) }
      return true
    } catch {
      return false
    }
  }
}

extension [StoredRecord] {
  /// What the first of the records gives that is not damaged there.
  /// - Throws: what the first of them throws.
  /// - Precondition: not empty.
  func first<Part>(_ read: (StoredRecord) throws(Refusal) -> Part) throws(Refusal) -> Part {
    var failure: Refusal?
    for record in self {
      do throws(Refusal) {
        return try read(record)
      } catch {
        failure = failure ?? error
      }
    }
    guard let failure else { preconditionFailure("a chunk has a record") }
    throw failure
  }
}

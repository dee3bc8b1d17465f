internal import ContextTrees
internal import FileAccess
internal import Synchronization

/// A segment that a manifest names: mapped with its generation, so that it can be read however long that is open, and
/// looked at when the first chunk of it is needed.
final class SegmentFile: Sendable {
  let reference: SegmentReference
  private let configuration: TreeStoreConfiguration
  private let mapping: Result<MappedFile, Refusal>
  private let opened = Mutex<Result<Segment, Refusal>?>(nil)

  /// Maps the file.
  init(_ reference: SegmentReference, in store: String, _ configuration: TreeStoreConfiguration) {
    self.reference = reference
    self.configuration = configuration
    let path = StoreFormat.segmentPath(store, reference.digest)
    do throws(Refusal) {
      mapping = .success(try MappedFile(path))
    } catch {
      mapping = .failure(
        error.name == .missingFile
          ? Refusal(.missingSegment, file: path, "the manifest names it and it is not there") : error)
    }
  }

  /// Whether there is nothing under its name.
  var isMissing: Bool {
    guard case .failure(let fault) = mapping else { return false }
    return fault.name == .missingSegment
  }

  /// The segment, checked when this is called first.
  /// - Throws: `Refusal`, always the same, when it is lost or damaged beyond its records.
  func segment() throws(Refusal) -> Segment {
    let result = opened.withLock { opened in
      if let opened { return opened }
      let result: Result<Segment, Refusal>
      do throws(Refusal) {
        result = .success(try Segment(reference, in: try mapping.get(), configuration))
      } catch {
        result = .failure(error)
      }
      opened = result
      return result
    }
    return try result.get()
  }
}

/// The segments of a generation: one that is lost or damaged fails only those who need it.
struct SegmentSet: Sendable {
  /// By ascending digest.
  private(set) var files: [SegmentFile] = []

  init() {}

  /// Maps what a manifest names.
  init(_ manifest: Manifest, in path: String) {
    files = manifest.segments.map { SegmentFile($0, in: path, manifest.configuration) }
  }

  mutating func insert(_ file: SegmentFile) {
    files.insert(file, at: index(from: file.reference.digest.tag))
  }

  mutating func remove(_ isRemoved: (SegmentFile) -> Bool) { files.removeAll(where: isRemoved) }

  var references: [SegmentReference] { files.map(\.reference) }

  /// The first whose tag is not less.
  private func index(from tag: UInt64) -> Int {
    var low = 0
    var high = files.count
    while low < high {
      let middle = low + (high - low) / 2
      if files[middle].reference.digest.tag < tag { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Where a segment stands among the others.
  func index(of tag: UInt64) -> Int? {
    let index = index(from: tag)
    return index < files.count && files[index].reference.digest.tag == tag ? index : nil
  }

  /// The record at a place.
  /// - Throws: `Refusal` of a segment that cannot be opened or a record whose head is damaged; `malformed-table` when the
  ///   chunk is not there.
  func record(of key: ChunkKey, at place: ChunkPlace, store: String) throws(Refusal) -> StoredRecord {
    guard let index = index(of: place.segment) else {
      throw Refusal(
        .missingSegment, file: store, structure: "chunk \(key.short)", "lies in a segment that no manifest names")
    }
    let segment = try files[index].segment()
    guard place.entry < segment.index.count, segment.index.key(at: place.entry) == key else {
      throw Refusal(
        .malformedTable, file: segment.path, structure: "chunk \(key.short)", "is not where the catalog says")
    }
    return try StoredRecord(in: segment, at: place.entry)
  }
}

extension StoredRecord {
  /// All blocks as they are stored, checked.
  func storedBlocks() throws(Refusal) -> [StoredBlock] {
    var blocks: [StoredBlock] = []
    for (number, entry) in entries.enumerated() {
      blocks.append(StoredBlock(stored: try storedBlock(number), compression: entry.compression))
    }
    return blocks
  }

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

public import FileAccess
import Glibc

/// What a power cut may leave of a directory whose changes are in a journal.
///
/// What was written to a file is durable once the file has been synchronized, and a name made, changed or removed once
/// its directory has been. Any other change is lost or kept independently of the ones before it.
public struct CrashModel {
  /// A file or a directory, whatever its names are.
  private typealias Object = Int

  private enum Change {
    case write(byteOffset: Int, bytes: [UInt8])
    case truncate(byteCount: Int)
    case link(name: String, Object)
    case unlink(name: String)
    case rename(from: String, to: String, Object)
  }

  private struct Step {
    let change: Change
    /// The file that is written to, or the directory that has the name.
    let object: Object
    /// The first point of the journal at which the change is durable.
    var durablePoint = Int.max
  }

  /// What is left of a change that is not durable.
  public enum Remains: Sendable {
    case nothing
    case all
    /// Of a write, some of its sectors; of any other change, all.
    /// - Parameters:
    ///   - byteCount: of a sector: 512 or 4096.
    ///   - which: a bit for each sector of the file, from the first one again after 64.
    case sectors(byteCount: Int, which: UInt64)
    /// Of a write, the file's length: the bytes are zero. Of any other change, all.
    case zeros
  }

  /// The contents of a directory: the bytes of files by their paths in it, nil for directories.
  public typealias Contents = [String: [UInt8]?]

  private static let root: Object = 0
  /// For each entry of the journal; nil for one that changes nothing.
  private var steps: [Step?] = []
  private var directories: Set<Object> = [root]

  /// - Parameters:
  ///   - root: an empty directory when the journal began. What happened elsewhere does not count.
  ///   - isIgnored: synchronizations that this disk does not do: what is lost then shows that they are needed.
  public init(_ journal: FileJournal, root: String, ignoring isIgnored: (FileOperation) -> Bool = { _ in false }) {
    var live: [String: Object] = ["": Self.root]
    func inside(_ path: String) -> String? {
      path == root ? "" : path.hasPrefix(root + "/") ? String(path.dropFirst(root.count + 1)) : nil
    }
    for (number, entry) in journal.entries.enumerated() {
      var step: Step?
      /// A change of a name.
      func named(_ path: String, _ change: (String) -> Change) -> Step? {
        let (parent, name) = path.contains("/") ? Directory.split(path) : ("", path)
        return live[parent].map { Step(change: change(name), object: $0) }
      }
      switch entry.operation {
      case .create(let path):
        guard let path = inside(path), live[path] == nil else { break }
        let object = steps.count + 1
        step = named(path) { .link(name: $0, object) }
        live[path] = object
      case .createUnnamed(let path):
        // Not in a directory: nothing is left of it.
        guard let path = inside(path) else { break }
        live[path] = steps.count + 1
      case .link(let from, let to):
        guard let from = inside(from), let to = inside(to), let object = live[from] else { break }
        step = named(to) { .link(name: $0, object) }
        live[to] = object
      case .createDirectory(let path):
        guard let path = inside(path) else { break }
        let object = steps.count + 1
        step = named(path) { .link(name: $0, object) }
        live[path] = object
        directories.insert(object)
      case .write(let path, let byteOffset, _):
        guard let object = inside(path).flatMap({ live[$0] }) else { break }
        step = Step(change: .write(byteOffset: byteOffset, bytes: entry.written), object: object)
      case .truncate(let path, let byteCount):
        guard let object = inside(path).flatMap({ live[$0] }) else { break }
        step = Step(change: .truncate(byteCount: byteCount), object: object)
      case .rename(let from, let to):
        guard let from = inside(from), let to = inside(to), let object = live[from] else { break }
        precondition(Directory.split("/\(from)").directory == Directory.split("/\(to)").directory, "another directory")
        step = named(to) { .rename(from: Directory.split("/\(from)").name, to: $0, object) }
        live[from] = nil
        live[to] = object
      case .remove(let path), .removeDirectory(let path):
        guard let path = inside(path), live[path] != nil else { break }
        step = named(path) { .unlink(name: $0) }
        live[path] = nil
      case .synchronize(let path), .synchronizeDirectory(let path):
        guard let object = inside(path).flatMap({ live[$0] }), !isIgnored(entry.operation) else { break }
        for earlier in steps.indices {
          guard let step = steps[earlier], step.object == object, step.durablePoint == .max else { continue }
          steps[earlier]?.durablePoint = number + 1
        }
      case .open, .list, .read, .map, .lock: break
      }
      steps.append(step)
    }
  }

  /// What is left after the first changes of the journal and a cut.
  /// - Parameters:
  ///   - point: how many changes were made.
  ///   - keeping: whether a change that is not durable is there, by its number.
  public func contents(at point: Int, keeping: (Int) -> Bool) -> Contents {
    contents(at: point) { keeping($0) ? .all : .nothing }
  }

  /// What is left after the first changes of the journal and a cut.
  /// - Parameters:
  ///   - point: how many changes were made.
  ///   - remains: of a change that is not durable, by its number.
  public func contents(at point: Int, remains: (Int) -> Remains) -> Contents {
    var files: [Object: [UInt8]] = [:]
    var names: [Object: [String: Object]] = [:]
    for (number, step) in steps[..<point].enumerated() {
      guard let step else { continue }
      let remains = step.durablePoint <= point ? Remains.all : remains(number)
      if case .nothing = remains { continue }
      switch step.change {
      case .write(let byteOffset, let bytes):
        var file = files[step.object, default: []]
        if file.count < byteOffset + bytes.count {
          file += [UInt8](repeating: 0, count: byteOffset + bytes.count - file.count)
        }
        for (index, byte) in bytes.enumerated() {
          let offset = byteOffset + index
          switch remains {
          case .nothing, .zeros: continue
          case .all: file[offset] = byte
          case .sectors(let byteCount, let which):
            if which >> UInt64(offset / byteCount % 64) & 1 == 1 { file[offset] = byte }
          }
        }
        files[step.object] = file
      case .truncate(let byteCount):
        let file = files[step.object, default: []].prefix(byteCount)
        files[step.object] = file + [UInt8](repeating: 0, count: byteCount - file.count)
      case .link(let name, let object): names[step.object, default: [:]][name] = object
      case .unlink(let name): names[step.object, default: [:]][name] = nil
      case .rename(let from, let to, let object):
        names[step.object, default: [:]][from] = nil
        names[step.object, default: [:]][to] = object
      }
    }
    var contents: Contents = [:]
    func list(_ directory: Object, _ prefix: String) {
      for (name, object) in names[directory, default: [:]] {
        if directories.contains(object) {
          contents[prefix + name] = .some(nil)
          list(object, "\(prefix)\(name)/")
        } else {
          contents[prefix + name] = .some(files[object, default: []])
        }
      }
    }
    list(Self.root, "")
    return contents
  }

  /// Fills an empty directory.
  public static func write(_ contents: Contents, into directory: String) throws(Refusal) {
    // A directory's name comes before those of what is in it.
    for (path, bytes) in contents.sorted(by: { $0.key < $1.key }) {
      guard let bytes else {
        try Directory.create("\(directory)/\(path)")
        continue
      }
      let file = unsafe open("\(directory)/\(path)", O_WRONLY | O_CREAT | O_EXCL, 0o600)
      let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(file, $0.baseAddress, $0.count) }
      close(file)
      guard count == bytes.count else { throw Refusal(.inputOutput, file: path, "cannot be rebuilt") }
    }
  }
}

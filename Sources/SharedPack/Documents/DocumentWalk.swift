import FileAccess
import ModelPacks

/// The way through folders of texts.
struct DocumentWalk {
  private let search: DocumentSearch
  private let naming: DocumentNaming
  private let store: FileStatus?
  var found = DocumentSearch.Found()
  /// The index of each name's source.
  private var indices: [String: Int] = [:]
  /// The folders that were read, and the paths under which they were.
  private var seen: [FileStatus: String] = [:]
  /// Links to folders, which come after all others: a folder is read under its own name where it has one.
  private var links: [String] = []

  init(_ search: DocumentSearch, naming: DocumentNaming) {
    self.search = search
    self.naming = naming
    store = search.store.flatMap { FileStatus($0) }
  }

  /// Adds what a path names.
  mutating func add(_ path: String) {
    let start = found.sources.count
    if path == "-" {
      var source = DocumentSource.standardInput(name: search.standardInputName, form: search.standardInputForm)
      source.encoding = search.encoding
      add(source)
    } else {
      add(named: path)
    }
    while !links.isEmpty {
      let waiting = links
      links = []
      for link in waiting { walk(link) }
    }
    found.sources[start...].sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    for index in start..<found.sources.count { indices[found.sources[index].name] = index }
  }

  private mutating func add(named path: String) {
    var trimmed = path
    while trimmed.count > 1, trimmed.hasSuffix("/") { trimmed.removeLast() }
    do throws(Refusal) {
      switch try Directory.kind(of: trimmed) {
      case .directory: walk(trimmed)
      case .file: add(file: trimmed, name: naming.name(of: trimmed))
      case .other: throw Refusal(.notARegularFile, file: path, "is not a regular file")
      case nil:
        guard let pattern = PathPattern(trimmed) else { throw Refusal(.missingFile, file: path, "does not exist") }
        let matches = pattern.paths(faults: &found.faults)
        guard !matches.isEmpty else { throw Refusal(.missingFile, file: path, "matches no file") }
        for match in matches { add(path: match, isLink: false) }
      }
    } catch {
      found.faults.append(error)
    }
  }

  private mutating func walk(_ directory: String) {
    let prefix = naming.name(of: directory)
    do throws(Refusal) {
      if let status = FileStatus(directory) {
        if status == store { return skip(directory, .store) }
        if let other = seen[status] {
          if naming.absolute(other) != naming.absolute(directory) { skip(directory, .repeated(as: other)) }
          return
        }
        seen[status] = directory
      }
      let entries = try Directory.entries(in: directory)
      if Self.isStore(entries) { return skip(directory, .store) }
      for entry in entries where !entry.name.hasPrefix(".") {
        let path = directory == "/" ? "/\(entry.name)" : "\(directory)/\(entry.name)"
        guard entry.isUTF8 else {
          found.faults.append(Refusal(.nameNotUTF8, file: path, "its name is not UTF-8, and a document's has to be"))
          continue
        }
        switch entry.kind {
        case .regularFile: add(file: path, name: prefix.isEmpty ? entry.name : "\(prefix)/\(entry.name)")
        case .directory: walk(path)
        case .link: add(path: path, isLink: true)
        case .other: add(path: path, isLink: false)
        }
      }
    } catch {
      found.faults.append(error)
    }
  }

  /// Adds what is found in a folder or by a pattern.
  private mutating func add(path: String, isLink: Bool) {
    do throws(Refusal) {
      switch try Directory.kind(of: path) {
      case .file: add(file: path, name: naming.name(of: path))
      case .directory: if isLink { links.append(path) } else { walk(path) }
      case nil: throw Refusal(.missingFile, file: path, isLink ? "is a link that leads nowhere" : "does not exist")
      case .other:
        switch FileStatus(path)?.kind {
        case .pipe: skip(path, .pipe)
        case .socket: skip(path, .socket)
        default: skip(path, .device)
        }
      }
    } catch {
      found.faults.append(error)
    }
  }

  private mutating func add(file path: String, name: String) {
    if path.hasSuffix(".spk"), Self.isPack(path) { return skip(path, .modelPack) }
    var source = DocumentSource(name: name, path: path)
    source.encoding = search.encoding
    source.form = Self.form(of: path)
    add(source)
  }

  private mutating func add(_ source: DocumentSource) {
    if let index = indices[source.name] {
      let other = found.sources[index]
      // The same file, named twice, is read once.
      if other.isStandardInput == source.isStandardInput, naming.absolute(other.path) == naming.absolute(source.path) {
        return
      }
      found.faults.append(
        Refusal(
          .duplicateNaming, file: source.path, "would be stored as \"\(source.name)\", and so would \(other.path)"))
      return
    }
    indices[source.name] = found.sources.count
    found.sources.append(source)
  }

  private mutating func skip(_ path: String, _ reason: DocumentSearch.Skipped.Reason) {
    found.skipped.append(DocumentSearch.Skipped(path: path, reason: reason))
  }

  /// What a file holds, by its name.
  static func form(of path: String) -> DocumentSource.Form {
    var name = path.lowercased()
    for packing in ByteStream.Packing.allCases where name.hasSuffix(packing.suffix) {
      name.removeLast(packing.suffix.count)
    }
    return name.hasSuffix(".jsonl") || name.hasSuffix(".ndjson") ? .jsonLines : .text
  }

  /// Whether a directory is a store, damaged or not.
  private static func isStore(_ entries: [Directory.Entry]) -> Bool {
    entries.contains { $0.name == "segments" }
      && entries.contains { $0.name == "LOCK" || $0.name.hasPrefix("MANIFEST-") }
  }

  private static func isPack(_ path: String) -> Bool {
    guard let file = try? SequentialFile(path), file.byteCount >= ModelPack.magic.count else { return false }
    var start = [UInt8](repeating: 0, count: ModelPack.magic.count)
    var span = start.mutableSpan
    var bytes = unsafe span.mutableBytes
    guard (try? file.read(at: 0, into: &bytes)) != nil else { return false }
    return start == ModelPack.magic
  }
}

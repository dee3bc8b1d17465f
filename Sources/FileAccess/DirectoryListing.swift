import Glibc

extension Directory {
  /// A name in a directory.
  public struct Entry: Sendable, Hashable {
    /// What the name leads to, as far as the directory says.
    public enum Kind: Sendable, Hashable {
      case regularFile, directory, link
      /// A pipe, a socket or a device, or what the file system does not tell.
      case other
    }

    /// The name; bytes that are not UTF-8 are replaced.
    public let name: String
    /// Whether the name is UTF-8, so that it can be opened under it.
    public let isUTF8: Bool
    /// What the name leads to.
    public let kind: Kind
  }

  /// The names in a directory, sorted by their bytes, without `.` and `..`.
  /// - Throws: `Refusal` `missing-file`, `permission-denied` and others of reading a directory.
  public static func entries(in path: String) throws(Refusal) -> [Entry] {
    var opened: OpaquePointer?
    let result = FileOperation.perform(.list(path: path)) {
      unsafe opened = opendir(path)
      return unsafe opened == nil ? -1 : 0
    }
    defer { if let stream = unsafe opened { unsafe _ = closedir(stream) } }
    guard result == 0, let stream = unsafe opened else { throw SystemError.refusal("opendir", path: path) }
    var entries: [Entry] = []
    errno = 0
    while let entry = unsafe readdir(stream) {
      let bytes = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { name in
        unsafe Array(name.prefix { $0 != 0 })
      }
      let name = String(decoding: bytes, as: UTF8.self)
      if name != ".", name != ".." {
        let kind: Entry.Kind =
          switch unsafe Int(entry.pointee.d_type) {
          case DT_REG: .regularFile
          case DT_DIR: .directory
          case DT_LNK: .link
          default: .other
          }
        // What was replaced has other bytes.
        entries.append(Entry(name: name, isUTF8: name.utf8.elementsEqual(bytes), kind: kind))
      }
      errno = 0
    }
    guard errno == 0 else { throw SystemError.refusal("readdir", path: path) }
    return entries.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
  }

  /// The directory that relative paths start from.
  /// - Throws: `Refusal` when it was removed or cannot be seen.
  public static func current() throws(Refusal) -> String {
    guard let path = unsafe getcwd(nil, 0) else { throw SystemError.refusal("getcwd", path: ".") }
    defer { unsafe free(path) }
    return unsafe String(cString: path)
  }
}

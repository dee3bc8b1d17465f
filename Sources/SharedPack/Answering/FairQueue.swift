/// Elements that wait for their turn: each key's in the order in which they came, and the keys one after the other.
struct FairQueue<Element> {
  private var waiting: [String: [Element]] = [:]
  /// Keys with elements, the next one first.
  private var turns: [String] = []
  private(set) var count = 0

  mutating func append(_ element: Element, of key: String) {
    if waiting[key] == nil { turns.append(key) }
    waiting[key, default: []].append(element)
    count += 1
  }

  /// Takes the first element of the key whose turn it is.
  mutating func popFirst() -> Element? {
    guard let key = turns.first, var elements = waiting[key] else { return nil }
    turns.removeFirst()
    let first = elements.removeFirst()
    count -= 1
    if elements.isEmpty {
      waiting[key] = nil
    } else {
      waiting[key] = elements
      turns.append(key)
    }
    return first
  }

  /// Takes all elements that `isGone` says so of.
  mutating func removeAll(where isGone: (Element) -> Bool) {
    for (key, elements) in waiting {
      let left = elements.filter { !isGone($0) }
      count -= elements.count - left.count
      waiting[key] = left.isEmpty ? nil : left
    }
    turns.removeAll { waiting[$0] == nil }
  }
}
